// Rows as signed bytes, and squared distances between them: what graphs and trees are built from.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "tile.h"

namespace nearfield {

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
  void to(const uint32_t* rows, int64_t count, float* out) const {
    isa_.byte_gaps(bytes_, &mine_, rows_.bytes, rows_.sides, rows, count, rows_.stride, out);
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
};

}  // namespace nearfield
