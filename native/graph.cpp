#include "graph.h"

#include <algorithm>
#include <limits>

#include "frontier.h"
#include "tile.h"

namespace nearfield {
namespace {

constexpr int64_t kSeenShare = 32;  // slots of the table of rows met, for each row of the frontier

// What one thread needs for one walk after another.
class Walker : public Scratch {
 public:
  Walker(const Stored& stored, const Links& links)
      : links_(links), w_(stored.work({})), tile_(w_, 1, std::max(links.degree, links.n_entries)) {}

  void run(const Folded& one, int64_t k, int64_t width, const uint64_t* allow, bool rough, Found& out) {
    w_.folded = one, w_.allow = allow;
    const DenseQueries q = dense_queries(w_, 0, 1, true);
    near_.reset(width), found_.reset(allow ? k : 1), seen_.reset(width * kSeenShare);
    count_ = 0;
    meet(q, links_.entries, links_.n_entries);
    for (int64_t row = near_.visit(); row >= 0; row = near_.visit()) {
      ask(near_.upcoming());
      meet(q, links_.to + row * links_.degree, links_.degree);
      if (out.watcher) out.watcher->look(near_);
    }
    write(allow ? found_ : near_, k, out);
    if (!rough && !q.lower.empty()) refine(k, out);
  }

 private:
  void meet(const DenseQueries& q, const uint32_t* rows, int64_t count) {
    tile_.clear();
    for (int64_t r = 0; r < count && rows[r] < w_.n; r++)
      if (seen_.add(rows[r])) {
        tile_.add(rows[r]);
        tile_.ask(rows[r]);
      }
    const int64_t n = tile_.count();
    if (!n) return;
    count_ += n;
    const float* got = tile_.score(q, 0, 1, 0);
    for (int64_t r = 0; r < n; r++) {
      const int64_t row = tile_.id(r);
      if (near_.insert(got[r], row)) ask(row);
      if (w_.allow && (w_.allow[row >> 6] >> (row & 63) & 1)) found_.insert(got[r], row);
    }
  }

  // Scores what was found as a scan would.
  void refine(int64_t k, Found& out) {
    const DenseQueries q = dense_queries(w_, 0, 1);
    const int64_t n = std::find(out.ids, out.ids + k, -1) - out.ids;
    found_.reset(k);
    for (int64_t at = 0; at < n;) {
      tile_.clear();
      for (; at < n && !tile_.full(); at++) tile_.add(out.ids[at]);
      const float* got = tile_.score(q, 0, 1, 0);
      for (int64_t r = 0; r < tile_.count(); r++) found_.insert(got[r], tile_.id(r));
    }
    write(found_, k, out);
  }

  // Asks for the links of a row that may be visited soon.
  void ask(int64_t row) const {
    if (row < 0) return;
    const uint32_t* at = links_.to + row * links_.degree;
    for (int64_t l = 0; l < links_.degree; l += 16) prefetch(at + l);
  }

  void write(const Frontier& best, int64_t k, Found& out) const {
    for (int64_t r = 0; r < k; r++) {
      out.ids[r] = r < best.size() ? best.row(r) : -1;
      out.scores[r] = r < best.size() ? best.score(r) : -std::numeric_limits<float>::infinity();
    }
    out.scored = count_;
  }

  const Links links_;
  Work w_;
  Tile tile_;
  Frontier near_, found_;
  Seen seen_;
  int64_t count_ = 0;
};

}  // namespace

std::unique_ptr<Scratch> GraphFinder::scratch() const { return std::make_unique<Walker>(stored_, links_); }

void GraphFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                       Scratch& scratch, Found& out) const {
  static_cast<Walker&>(scratch).run(one_of(q, stored_.format, i), k, effort, allow, rough, out);
}

}  // namespace nearfield
