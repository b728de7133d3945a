// A graph in layers (HNSW): a greedy descent through thinner and thinner graphs finds where the walk of the lowest begins.
#pragma once
#include <vector>

#include "graph.h"
#include "graph_build.h"

namespace nearfield {

// The layers above the lowest. A member of a layer is a member of all below it; members are numbered so that the first
// of them are those of the highest layer, and links are such numbers.
struct Upper {
  const uint32_t* members;      // the rows that the members are
  const uint32_t* links;        // [of all layers, lowest first][degree]
  int64_t degree;
  std::vector<int64_t> counts;  // members of each layer, lowest first; at least one
};

// Walks the lowest layer as GraphFinder does, from the row to which the upper ones lead.
class LayeredFinder : public Finder {
 public:
  LayeredFinder(const Stored& stored, const Links& lowest, Upper upper, const FilterCosts& costs)
      : Finder(stored), lowest_(lowest), upper_(std::move(upper)), costs_(costs) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;
  void prefer(int way) override { preferred_ = way; }

 private:
  Links lowest_;
  Upper upper_;
  FilterCosts costs_;
  int preferred_ = kPlanned;
};

// While building: from starts, the member of a layer at which a greedy walk to each of some rows ends.
void descend(const Growing& layer, const ByteRows& of, const uint32_t* rows, int64_t count, const uint32_t* starts,
             uint32_t* ends);

}  // namespace nearfield
