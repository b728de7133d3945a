// Walks over a graph of near rows: each step scores the neighbours of the best row where it has not been.
#pragma once
#include <cstdint>

#include "scan.h"

namespace nearfield {

constexpr uint32_t kNoLink = 0xffffffffu;  // stands behind the last link of a row

struct Graph {
  const uint32_t* links;  // [n][degree]
  int64_t degree;
  const uint32_t* entries;  // where walks begin
  int64_t n_entries;
};

// The best k of what a frontier of `width` rows finds for each query: ids and scores [queries][k], -1 and -inf where
// there are fewer; scored[queries] counts the rows that were scored. Row-major codes of float and affine layouts.
void walk(const Work& w, const Graph& g, int64_t k, int64_t width, int64_t* ids, float* scores, int64_t* scored);

}  // namespace nearfield
