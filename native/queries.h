// Folded queries made ready for a kernel: padded, or turned into integers.
#pragma once
#include <vector>

#include "scan.h"

namespace nearfield {

struct DenseQueries {
  int64_t stride = 0;
  std::vector<float> floats;
  std::vector<int16_t> shorts;
  std::vector<int8_t> lower, upper;  // the shorts of queries on nibbles as 256 * upper + lower
  std::vector<float> wscale;
};

DenseQueries dense_queries(const Work& w, int64_t from, int64_t to);

struct TableQueries {
  std::vector<uint8_t> coarse, fine, wide;
  std::vector<uint16_t> entries, bytes;
  std::vector<TableQuery> each;
};

TableQueries table_queries(const Work& w, int64_t from, int64_t to);

inline Offsets offsets(const Folded& f, int64_t i) {
  return {f.inside ? f.inside[i] : 0.0f, f.slope ? f.slope[i] : 0.0f, f.outside ? f.outside[i] : 0.0f,
          f.squares ? f.squares[i] : 0.0f};
}

}  // namespace nearfield
