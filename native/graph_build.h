// Builds a graph of near rows (Vamana): rows enter in batches, each linked to what a walk to it met, pruned so that
// links point in different directions. Batches and their order decide the graph; threads do not.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace nearfield {

// What a row has beside its bytes: it is about scale * bytes, of squared length square with its lift: one more
// coordinate that brings rows to equal length where nearness is a dot product, so that near means a large product.
struct Side {
  float scale, square, lift, unused;
};
struct ByteRows {
  const int8_t* bytes;  // [n][stride], from -127 to 127
  int64_t n, stride;
  const Side* sides;
};

struct Growing {
  const Kernels* isa;
  ByteRows rows;
  uint32_t* links;   // [n][room]
  int32_t* counts;   // [n]
  int64_t room;      // links that a row holds while the graph grows
  int64_t degree;    // links that it keeps
  int64_t width;     // of the frontier of a walk
  float alpha;       // a link is dropped where another one leads alpha times nearer to its end
  const uint32_t* entries;
  int64_t n_entries;
  int threads;
  const uint8_t* dead = nullptr;  // [n], 1 for rows that are walked over but linked to only for want of others
};

// Links some rows to those that were linked before; the entries come first of all.
void grow(const Growing& g, const uint32_t* rows, int64_t count);

// The rows that these link to take the links back; those with too many are pruned.
void link_back(const Growing& g, const uint32_t* rows, int64_t count);

// Prunes the rows that hold more than `degree` links.
void settle(const Growing& g);

}  // namespace nearfield
