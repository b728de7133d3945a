// Nearest centroids, tables of dot products, Hamming distances, plain dot products.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace nearfield {

void assign(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* centroids, int64_t c,
            int threads, int32_t* ids, float* distances);

// k-means++: `first`, then k - 1 rows, each drawn by a number in [0, 1) in proportion to its squared distance from the
// nearest of those before. Returns how many: fewer than k where every row equals one of them.
int64_t plus_plus(const Kernels& isa, const float* x, int64_t n, int64_t d, int64_t k, int64_t first, const double* draws,
                  int64_t* ids);

// out[m][parts][c] = q[m][part] . codebooks[part][c]
void part_tables(const Kernels& isa, const float* q, int64_t m, const float* codebooks, int64_t parts,
                 int64_t c, int64_t sub, int threads, float* out);

void hamming(const Kernels& isa, const uint8_t* q, int64_t m, const uint8_t* codes, int64_t n, int64_t width,
             int threads, int32_t* out);

}  // namespace nearfield
