// Trees over rows: each node parts its rows in halves by where they lie along a direction.
#pragma once
#include <cstdint>
#include <vector>

#include "byte_rows.h"
#include "finder.h"

namespace nearfield {

// Node i has the children 2i + 1 and 2i + 2 and parts [from, to) at the middle; so many levels of nodes, then leaves.
// What a row has at a node is its product with the node's direction; the lower half lies below the threshold.
struct Trees {
  const uint32_t* rows;     // [trees][n]: the rows of each leaf lie together
  const int8_t* normals;    // [trees][nodes][stride]: directions, rounded as rows are
  const Side* sides;        // [trees][nodes]: of each direction
  const float* thresholds;  // [trees][nodes]
  int64_t n, trees, levels, stride;

  int64_t nodes() const { return (int64_t(1) << levels) - 1; }
};

// What growing fills in.
struct NewTrees {
  uint32_t* rows;
  int8_t* normals;
  Side* sides;
  float* thresholds;
};

// A node and the rows [from, to) below it, which have so many levels to go.
struct TreePart {
  int64_t node, from, to, levels;
};

// Parts the rows of that part in each of so many trees of so many levels, `down` levels down, each tree from numbers of
// its own drawn from the seed; trees are numbered from `first` on, and hold the rows of the part. Returns how many
// distances and products that took.
int64_t grow_trees(const Kernels& isa, const ByteRows& of, int64_t trees, int64_t levels, uint64_t seed, int64_t first,
                   const TreePart& part, int64_t down, int threads, const NewTrees& out);

// Takes leaves by how far the query lies on the wrong side of a plane on the way to each, until so many candidates are
// found as its effort says. Needs the queries as given.
class TreesFinder : public Finder {
 public:
  // Queries have `dim` numbers; length: that of the rows, to which queries are brought where they are scored by products.
  TreesFinder(const Stored& stored, const Trees& trees, int64_t dim, float length)
      : Finder(stored), trees_(trees), dim_(dim), length_(length) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;

 private:
  Trees trees_;
  int64_t dim_;
  float length_;
};

}  // namespace nearfield
