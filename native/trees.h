// Trees over rows: each node parts its rows in halves by where they lie between two of them.
#pragma once
#include <cstdint>
#include <vector>

#include "byte_rows.h"
#include "finder.h"

namespace nearfield {

// Node i has the children 2i + 1 and 2i + 2 and parts [from, to) at the middle; so many levels of nodes, then leaves.
// What a row has at a node is its squared distance from the second of a pair less that from the first: more is nearer to
// the first. The lower half lies below the threshold.
struct Trees {
  const uint32_t* rows;   // [trees][n]: the rows of each leaf lie together
  const uint32_t* pairs;  // [trees][2^levels - 1][2]
  const float* planes;    // [trees][2^levels - 1][2]: the threshold, and 1 / (twice the distance of the pair)
  int64_t n, trees, levels;

  int64_t nodes() const { return (int64_t(1) << levels) - 1; }
};

// A node and the rows [from, to) below it, which have so many levels to go.
struct TreePart {
  int64_t node, from, to, levels;
};

// Parts the rows of that part in each tree, so many levels down, each tree from numbers of its own drawn from its seed;
// into rows, which hold those of the part, pairs and planes. Trees are numbered from `first` on.
void grow_trees(const Kernels& isa, const ByteRows& of, const Trees& shape, uint64_t seed, int64_t first,
                const TreePart& part, int64_t down, int threads, uint32_t* rows, uint32_t* pairs, float* planes);

// Takes leaves by how far the query lies on the wrong side of a plane on the way to each, until so many candidates are
// found as its effort says.
class TreesFinder : public Finder {
 public:
  // unfold [dim]: times the weights of a query, gives the query; length: that of the rows, to which queries are
  // brought where they are scored by products.
  TreesFinder(const Stored& stored, const Trees& trees, const float* unfold, float length)
      : Finder(stored), trees_(trees), unfold_(unfold), length_(length) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;

 private:
  Trees trees_;
  const float* unfold_;
  float length_;
};

}  // namespace nearfield
