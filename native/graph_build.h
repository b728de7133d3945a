// Builds a graph of near rows (Vamana): rows enter in batches, each linked to what a walk to it met, pruned so that
// links point in different directions. Batches and their order decide the graph; threads do not. Dead rows are taken out
// of it (FreshDiskANN): whoever links to them links to what lies beyond them instead.
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

// What rows are to be linked to, of those that were linked before: chosen [count][g.chosen], kNoLink behind the last. The
// entries come first of all; where starts are given, the walk to each row begins at its own. Nothing is changed.
void choose(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* starts, uint32_t* chosen);

// The same of `count` rows from `first` on, of those that are known to be near: near [count][k], nearest first, kNoLink
// behind the last.
void choose_near(const Growing& g, int64_t first, int64_t count, const uint32_t* near, int64_t k, uint32_t* chosen);

// The same of rows that live and link to dead ones: the living that they link to, and those beyond the dead, which keep
// their links.
void choose_beyond(const Growing& g, const uint32_t* rows, int64_t count, uint32_t* chosen);

// Gives rows the links that were chosen.
void enter(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* chosen);

// Links from their other ends: the row that is to take one back in the upper half. Rows take them in the order of the
// edges, and are pruned where they hold too many; those of one row are together.
void lead_back(const Growing& g, const uint64_t* edges, int64_t count);

// Prunes those of some rows, each named once, that hold more than `degree` links.
void settle(const Growing& g, const uint32_t* rows, int64_t count);

}  // namespace nearfield
