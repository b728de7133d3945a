// Scores of a few rows, wherever they lie, for one query after another.
#pragma once
#include <algorithm>

#include "best.h"
#include "finder.h"
#include "tile.h"

namespace nearfield {

// Rows of nibbles are scored in one pass where their constants and the metric allow it, others as a tile.
class RowScorer {
 public:
  static constexpr int64_t kFew = 64;  // so many rows are always taken

  // At most so many rows in one call, or kFew where that is more.
  RowScorer(const Stored& stored, int64_t most) : w_(stored.work({})), tile_(w_, 1, std::max(most, kFew)) {}

  // `rough`: for scores that are only compared with each other.
  void query(const Folded& one, bool rough) {
    w_.folded = one;
    dense_queries(w_, 0, 1, rough, q_);
    const Format& f = *w_.format;
    quick_ = rough && f.layout == kAffine4 && w_.isa->walk_nibbles && f.scale.kind == kHalf && f.shift.kind == kHalf &&
             f.shift.offset == f.scale.offset + 2 && (w_.metric == kDot || (w_.metric == kCosine && !w_.terms));
    if (!quick_) return;
    std::copy_n(f.levels, 16, nibbles_.levels);
    nibbles_.halves[0] = q_.lower.data(), nibbles_.halves[1] = nullptr;
    nibbles_.sum = q_.sums[0], nibbles_.wscale = q_.wscale[0];
    nibbles_.width = f.width, nibbles_.dim = f.dim, nibbles_.constants = f.scale.offset;
    nibbles_.offsets = offsets(w_.folded, 0);
  }

  // Whether scores of a query that was not rough would be others.
  bool roughened() const { return !q_.lower.empty(); }

  // There is room for kBlock more behind the last score.
  void score(const uint32_t* rows, int64_t count, float* out) {
    if (!count || (quick_ && w_.isa->walk_nibbles(&nibbles_, w_.codes, rows, count, out))) return;
    tile_.clear();
    for (int64_t r = 0; r < count; r++) tile_.add(rows[r]);
    std::copy_n(tile_.score(q_, 0, 1, 0), count, out);
  }

  // Asks for the bytes of a row that is scored soon.
  void ask(int64_t row) const { tile_.ask(row); }

 private:
  Work w_;
  Tile tile_;
  DenseQueries q_;
  NibbleWalk nibbles_ = {};
  bool quick_ = false;
};

// The best k of some rows, scored as a scan scores them; `row` tells the i-th of n.
template <class Row>
void score_again(RowScorer& scorer, const Folded& one, int64_t n, const Row& row, int64_t k, Best& best, Found& out) {
  constexpr int64_t together = RowScorer::kFew;
  scorer.query(one, false);
  best.reset(k, nullptr);
  uint32_t rows[together];
  float scores[together + kBlock];
  for (int64_t at = 0; at < n;) {
    int64_t count = 0;
    for (; count < together && at < n; at++) {
      rows[count++] = uint32_t(row(at));
      scorer.ask(row(at));
    }
    scorer.score(rows, count, scores);
    for (int64_t r = 0; r < count; r++) best.push(scores[r], rows[r]);
  }
  best.write(true, k, out.ids, out.scores);
}

// What was found roughly, best first.
inline void score_found(RowScorer& scorer, const Folded& one, int64_t k, Best& best, Found& out) {
  int64_t n = 0;
  while (n < k && out.ids[n] >= 0) n++;
  score_again(scorer, one, n, [&out](int64_t i) { return out.ids[i]; }, k, best, out);
}

}  // namespace nearfield
