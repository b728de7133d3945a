// Rows as signed bytes, and squared distances between them: what graphs and trees are built from.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "tile.h"

namespace nearfield {

// What a row has beside its bytes: it is about scale * bytes, of squared length square with its lift: one more
// coordinate that brings rows to equal length where nearness is a dot product, so that near means a large product.
struct Side {
  float scale, square, lift, unused;
};
struct ByteRows {
  const int8_t* bytes;  // [n][stride], from -127 to 127
  int64_t n, stride;
  const Side* sides;
};

struct Near {
  float gap;  // squared distance
  uint32_t row;
  bool operator<(const Near& other) const { return gap < other.gap || (gap == other.gap && row < other.row); }
};

// Squared distances of some rows from one; the same from either end.
class Gaps {
 public:
  Gaps(const Kernels& isa, const ByteRows& rows) : isa_(isa), rows_(rows) {}

  void from(uint32_t row) { from(rows_, row); }
  // From a row of others, of the same stride.
  void from(const ByteRows& others, uint32_t row) {
    bytes_ = others.bytes + int64_t(row) * others.stride;
    mine_ = others.sides[row];
  }
  void to(const uint32_t* rows, int64_t count, float* out) {
    at_.resize(size_t(count)), sums_.resize(size_t(count));
    for (int64_t r = 0; r < count; r++) at_[size_t(r)] = rows_.bytes + int64_t(rows[r]) * rows_.stride;
    isa_.byte_dots(bytes_, at_.data(), count, rows_.stride, sums_.data());
    for (int64_t r = 0; r < count; r++) {
      const Side& other = rows_.sides[rows[r]];
      const float inner = mine_.scale * other.scale * float(sums_[size_t(r)]) + mine_.lift * other.lift;
      out[r] = std::max(mine_.square + other.square - 2 * inner, 0.0f);
    }
  }
  void ask(uint32_t row) const {
    const int8_t* at = rows_.bytes + int64_t(row) * rows_.stride;
    for (int64_t b = 0; b < rows_.stride; b += 64) prefetch(at + b);
    prefetch(rows_.sides + row);
  }

 private:
  const Kernels& isa_;
  const ByteRows& rows_;
  const int8_t* bytes_ = nullptr;
  Side mine_ = {};
  std::vector<const int8_t*> at_;
  std::vector<int32_t> sums_;
};

}  // namespace nearfield
