// Lists of the nearest rows of each row (NN-descent): neighbours of neighbours are compared until few of them are news.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "byte_rows.h"
#include "graph.h"

namespace nearfield {

struct NearLists {
  uint32_t* rows;  // [n][k], nearest first; kNoLink behind the last
  float* gaps;     // [n][k]; infinite likewise
  uint8_t* fresh;  // [n][k]: whether the entry was not joined with the others yet
  int64_t n, k;
};

// For each row, of all that are in its list or have it in theirs the ones of the lowest draws; a pair has one draw.
class Draws {
 public:
  Draws(int64_t n, int64_t some) : some_(some), rows_(size_t(n * some), kNoLink), keys_(size_t(n * some), ~uint64_t(0)) {}

  void add(uint32_t to, uint32_t row, uint64_t key);
  void forget(int64_t from, int64_t to);
  const uint32_t* of(int64_t row) const { return rows_.data() + row * some_; }
  int64_t count(int64_t row) const { return std::find(of(row), of(row) + some_, kNoLink) - of(row); }
  bool has(int64_t row, uint32_t other) const { return std::find(of(row), of(row) + some_, other) != of(row) + some_; }

 private:
  int64_t some_;
  std::vector<uint32_t> rows_;
  std::vector<uint64_t> keys_;
};

// Brings lists on, some rows at a time. Neither how rows are cut into such pieces nor the number of threads matters.
class NearJoins {
 public:
  // At most `some` fresh entries of a row, and as many others, are compared in a round.
  NearJoins(const Kernels& isa, const ByteRows& of, const NearLists& lists, int64_t some, int threads)
      : isa_(isa), of_(of), lists_(lists), some_(some), threads_(threads) {}

  // Compares the rows of each leaf with each other: leaves [count + 1] are where they begin in rows [n].
  void leaves(const uint32_t* rows, const int64_t* leaves, int64_t count);

  // A round: of each row, and of those that have it in their lists, entries are drawn; when that is done for all rows,
  // those drawn are no news any more; when that is done, they are compared with each other. join returns how many
  // pairs of rows were.
  void draw(uint64_t seed, int64_t from, int64_t to);
  void age(int64_t from, int64_t to);
  int64_t join(int64_t from, int64_t to);

 private:
  const Kernels& isa_;
  const ByteRows of_;
  const NearLists lists_;
  const int64_t some_;
  const int threads_;
  std::optional<Draws> fresh_, known_;
};

}  // namespace nearfield
