// Folded queries made ready for a kernel: padded, or turned into integers.
#pragma once
#include "on_lines.h"

#include "scan.h"

namespace nearfield {

struct DenseQueries {
  int64_t stride = 0;
  LineVector<float> floats;
  LineVector<int16_t> shorts;
  // Of queries on nibbles: the shorts as 256 * upper + lower, by byte_place, and their sums; no upper ones where all
  // shorts fit in a byte.
  int64_t byte_stride = 0;
  LineVector<int8_t> lower, upper;
  LineVector<int32_t> sums;
  LineVector<float> wscale;
};

// `rough`: queries on nibbles in a byte a weight, for scores that are only compared with each other.
DenseQueries dense_queries(const Work& w, int64_t from, int64_t to, bool rough = false);
// The same in place of others, whose memory it takes over.
void dense_queries(const Work& w, int64_t from, int64_t to, bool rough, DenseQueries& out);

struct TableQueries {
  std::vector<uint8_t> coarse, fine, wide;
  std::vector<int32_t> wide_at;
  std::vector<uint16_t> entries, bytes, largest;
  std::vector<float> lows;
  std::vector<TableQuery> each;
};

TableQueries table_queries(const Work& w, int64_t from, int64_t to);
void table_queries(const Work& w, int64_t from, int64_t to, TableQueries& out);

inline Offsets offsets(const Folded& f, int64_t i) {
  return {f.inside ? f.inside[i] : 0.0f, f.slope ? f.slope[i] : 0.0f, f.outside ? f.outside[i] : 0.0f,
          f.squares ? f.squares[i] : 0.0f};
}

}  // namespace nearfield
