// Lists of the nearest rows of each row (NN-descent): neighbours of neighbours are compared until few of them are news.
#pragma once
#include <cstdint>

#include "byte_rows.h"

namespace nearfield {

struct NearLists {
  uint32_t* rows;  // [n][k], nearest first; kNoLink behind the last
  float* gaps;     // [n][k]; infinite likewise
  uint8_t* fresh;  // [n][k]: whether the entry was not joined with the others yet
  int64_t n, k;
};

// Compares the rows of each leaf with each other: leaves [count + 1] are where they begin in rows [n].
void join_leaves(const Kernels& isa, const ByteRows& of, const NearLists& lists, const uint32_t* rows,
                 const int64_t* leaves, int64_t count, int threads);

struct Joined {
  int64_t fresh;     // entries that were not joined yet
  int64_t compared;  // pairs of rows
};

// One round: of each row, and of those that have it in their lists, at most `some` fresh entries and as many others are
// compared with each other. Any number of threads makes the same lists.
Joined join_near(const Kernels& isa, const ByteRows& of, const NearLists& lists, int64_t some, uint64_t seed, int threads);

}  // namespace nearfield
