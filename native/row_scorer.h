// Scores of a few rows, wherever they lie, for one query after another.
#pragma once
#include <algorithm>

#include "tile.h"

namespace nearfield {

// Rows of nibbles are scored in one pass where their constants and the metric allow it, others as a tile.
class RowScorer {
 public:
  static constexpr int64_t kFew = 16;  // so many rows are always taken

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

}  // namespace nearfield
