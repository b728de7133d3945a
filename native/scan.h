// Scores of rows of codes, and the best k of them. Results never depend on the number of threads.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace nearfield {

// Queries as a codec folded them; null where absent.
struct Folded {
  int64_t queries;
  const float *weights, *nibble_tables, *byte_tables;
  const float *inside, *slope, *outside, *squares;
  const float* vectors = nullptr;  // the queries themselves, for what looks at more than the codes
};

struct Work {
  const Kernels* isa;
  const Format* format;
  const uint8_t* codes;
  int64_t n;
  Folded folded;
  int metric;
  const float* terms;     // [n] or null
  const uint64_t* allow;  // bitmap of n rows or null
  int threads;
};

// Row-major codes for float and affine layouts, blocks of 32 rows for table layouts.
void scan(const Work& w, int64_t k, int64_t* ids, float* scores);

// Row-major codes for every layout; rows == null means all of them. scores [queries, count].
void score_rows(const Work& w, const int64_t* rows, int64_t count, float* scores);

void topk(const float* scores, int64_t m, int64_t n, int64_t k, int threads, int64_t* ids, float* best);

}  // namespace nearfield
