// Builds a graph of near rows (Vamana): rows enter in batches, each linked to what a walk to it met, pruned so that
// links point in different directions. Batches and their order decide the graph; threads do not.
#pragma once
#include <cstdint>

#include "byte_rows.h"

namespace nearfield {

struct LineRows;

struct Growing {
  const Kernels* isa;
  ByteRows rows;
  uint32_t* links;   // [n][room]
  int32_t* counts;   // [n]
  int64_t room;      // links that a row holds while the graph grows
  int64_t degree;    // links that it keeps
  int64_t chosen;    // links that it is given when it enters
  int64_t width;     // of the frontier of a walk
  float alpha;       // a link is dropped where another one leads alpha times nearer to its end
  const uint32_t* entries;
  int64_t n_entries;
  int threads;
  const uint8_t* dead = nullptr;  // [n], 1 for rows that are walked over but linked to only for want of others
  const LineRows* lines = nullptr;  // walks see these; what they come near to is ranked by bytes
};

// Links some rows to those that were linked before; the entries come first of all. Where starts are given, the walk to
// each row begins at its own.
void grow(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* starts = nullptr);

// Links every row to those that are known to be near: near [n][k], nearest first, kNoLink behind the last.
void link_near(const Growing& g, const uint32_t* near, int64_t k);

// The rows that these link to take the links back; those with too many are pruned.
void link_back(const Growing& g, const uint32_t* rows, int64_t count);

// Prunes the rows that hold more than `degree` links.
void settle(const Growing& g);

}  // namespace nearfield
