// Tables of hashes: rows whose projections on drawn directions fall in the same slots have the same key.
#pragma once
#include <cstdint>
#include <vector>

#include "finder.h"

namespace nearfield {

// A projection's slot is its sign, or its floor where projections are in units of the slots' width.
struct Slots {
  bool signs;
  int64_t tables, bits;  // bits: projections that make a key, at most 32
};

// The keys of projections [tables * bits], one for each table.
void keys_of(const Slots& slots, const float* projections, uint32_t* keys);

struct Hashes {
  Slots slots;
  const float* directions;  // [tables * bits][dim], of the weights of a query
  const float* offsets;     // [tables * bits]
  const uint32_t* keys;     // [tables][n], ascending
  const uint32_t* rows;     // [tables][n], of the keys
};

// Probes the tables in the order of how likely near rows lie there (Lv et al. 2007), until so many candidates are found
// as its effort says, or so many buckets were looked at.
class HashFinder : public Finder {
 public:
  HashFinder(const Stored& stored, const Hashes& hashes) : Finder(stored), hashes_(hashes) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;

 private:
  Hashes hashes_;
};

}  // namespace nearfield
