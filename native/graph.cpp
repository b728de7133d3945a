#include "graph.h"

#include <algorithm>
#include <vector>

#include "frontier.h"
#include "pool.h"
#include "tile.h"

namespace nearfield {
namespace {

constexpr int64_t kSeenShare = 32;  // slots of the table of rows met, for each row of the frontier

// What one thread needs for one walk after another.
class Walker {
 public:
  Walker(const Work& w, const Graph& g, int64_t k, int64_t width)
      : w_(w), g_(g), k_(k), near_(width), found_(w.allow ? k : 1), seen_(width * kSeenShare),
        tile_(w, 1, std::max(g.degree, g.n_entries)) {}

  void run(const DenseQueries& q, int64_t i, int64_t* ids, float* scores, int64_t* scored) {
    near_.clear(), found_.clear(), seen_.clear();
    count_ = 0;
    meet(q, i, g_.entries, g_.n_entries);
    for (int64_t row = near_.visit(); row >= 0; row = near_.visit()) {
      const int64_t after = near_.upcoming();
      if (after >= 0) prefetch(g_.links + after * g_.degree);
      meet(q, i, g_.links + row * g_.degree, g_.degree);
    }
    const Frontier& best = w_.allow ? found_ : near_;
    for (int64_t r = 0; r < k_; r++) {
      ids[r] = r < best.size() ? best.row(r) : -1;
      scores[r] = r < best.size() ? best.score(r) : -std::numeric_limits<float>::infinity();
    }
    *scored = count_;
  }

 private:
  void meet(const DenseQueries& q, int64_t i, const uint32_t* rows, int64_t count) {
    tile_.clear();
    for (int64_t r = 0; r < count && rows[r] < w_.n; r++)
      if (seen_.add(rows[r])) {
        tile_.add(rows[r]);
        tile_.ask(rows[r]);
      }
    const int64_t n = tile_.count();
    if (!n) return;
    count_ += n;
    const float* got = tile_.score(q, i, 1, 0);
    for (int64_t r = 0; r < n; r++) {
      const int64_t row = tile_.id(r);
      near_.insert(got[r], row);
      if (w_.allow && (w_.allow[row >> 6] >> (row & 63) & 1)) found_.insert(got[r], row);
    }
  }

  const Work& w_;
  const Graph& g_;
  int64_t k_, count_ = 0;
  Frontier near_, found_;
  Seen seen_;
  Tile tile_;
};

}  // namespace

void walk(const Work& w, const Graph& g, int64_t k, int64_t width, int64_t* ids, float* scores, int64_t* scored) {
  const int64_t m = w.folded.queries;
  const DenseQueries q = dense_queries(w, 0, m);
  parallel(int(std::min<int64_t>(w.threads, std::max<int64_t>(m, 1))), [&](int j) {
    const int jobs = int(std::min<int64_t>(w.threads, std::max<int64_t>(m, 1)));
    Walker walker(w, g, k, width);
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to; i++) walker.run(q, i, ids + i * k, scores + i * k, scored + i);
  });
}

}  // namespace nearfield
