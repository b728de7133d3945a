#include "layers.h"

#include <algorithm>
#include <limits>

#include "pool.h"
#include "tile.h"

namespace nearfield {
namespace {

// What one thread needs for one descent and walk after another. The walk's only entry lies here, and is written anew
// for each query; it goes to one row at a time, as HNSW does.
class Descent : public Scratch {
 public:
  Descent(const Stored& stored, const Links& lowest, const Upper& upper, const FilterCosts& costs)
      : upper_(upper), w_(stored.work({})), tile_(w_, 1, std::max<int64_t>(upper.degree, 1)),
        walker_(stored, {lowest.to, lowest.degree, entry_, 1}, costs, false), walking_(walker_.scratch()) {}

  void run(const Folded& q, int64_t i, int64_t k, int64_t width, const uint64_t* allow, bool rough, int way, Found& out) {
    const int64_t met = descend(one_of(q, *w_.format, i));
    walker_.prefer(way);
    walker_.find(q, i, k, width, allow, rough, *walking_, out);
    out.scored += met;
  }

 private:
  // Leaves the row where the walk begins in entry_; returns how many were scored.
  int64_t descend(const Folded& one) {
    w_.folded = one;
    const DenseQueries q = dense_queries(w_, 0, 1, true);
    int64_t met = 0, at = 0;
    float best = -std::numeric_limits<float>::infinity();
    const uint32_t first = 0;
    nearer(q, &first, 1, 1, at, best, met);
    for (size_t layer = upper_.counts.size(); layer-- > 0;) {
      int64_t from = 0;
      for (size_t below = 0; below < layer; below++) from += upper_.counts[below];
      while (nearer(q, upper_.links + (from + at) * upper_.degree, upper_.degree, upper_.counts[layer], at, best, met)) {
      }
    }
    entry_[0] = upper_.members[at];
    return met;
  }

  // Moves to the best of some members, where one is better.
  bool nearer(const DenseQueries& q, const uint32_t* links, int64_t count, int64_t members, int64_t& at, float& best,
              int64_t& met) {
    tile_.clear(), of_.clear();
    for (int64_t l = 0; l < count && int64_t(links[l]) < members; l++) {
      const uint32_t row = upper_.members[links[l]];
      if (int64_t(row) >= w_.n) continue;
      tile_.add(row);
      tile_.ask(row);
      of_.push_back(links[l]);
    }
    met += tile_.count();
    bool moved = false;
    const float* got = of_.empty() ? nullptr : tile_.score(q, 0, 1, 0);
    for (size_t r = 0; r < of_.size(); r++)
      if (got[r] > best) best = got[r], at = of_[r], moved = true;
    return moved;
  }

  const Upper& upper_;
  Work w_;
  Tile tile_;
  std::vector<uint32_t> of_;
  uint32_t entry_[1] = {0};
  GraphFinder walker_;
  std::unique_ptr<Scratch> walking_;
};

}  // namespace

std::unique_ptr<Scratch> LayeredFinder::scratch() const { return std::make_unique<Descent>(stored_, lowest_, upper_, costs_); }

void LayeredFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                         Scratch& scratch, Found& out) const {
  static_cast<Descent&>(scratch).run(q, i, k, effort, allow, rough, preferred_, out);
}

void descend(const Growing& layer, const ByteRows& of, const uint32_t* rows, int64_t count, const uint32_t* starts,
             uint32_t* ends) {
  const int jobs = int(std::clamp<int64_t>(count / 16, 1, layer.threads));
  parallel(jobs, [&](int j) {
    Gaps gaps(*layer.isa, layer.rows);
    std::vector<float> got(size_t(std::max<int64_t>(layer.room, 1)));
    const int64_t to = part_begin(count, 1, j + 1, jobs);
    for (int64_t i = part_begin(count, 1, j, jobs); i < to; i++) {
      gaps.from(of, rows[i]);
      Near best = {0, starts[i]};
      gaps.to(&best.row, 1, &best.gap);
      for (bool moved = true; moved;) {
        moved = false;
        const uint32_t* links = layer.links + int64_t(best.row) * layer.room;
        const int64_t some = layer.counts[best.row];
        gaps.to(links, some, got.data());
        for (int64_t l = 0; l < some; l++)
          if (got[size_t(l)] < best.gap) best = {got[size_t(l)], links[l]}, moved = true;
      }
      ends[i] = best.row;
    }
  });
}

}  // namespace nearfield
