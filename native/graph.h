// Walks over a graph of near rows: each step scores the neighbours of the best row where it has not been.
#pragma once
#include <cstdint>
#include <memory>

#include "finder.h"

namespace nearfield {

constexpr uint32_t kNoLink = 0xffffffffu;  // stands behind the last link of a row

struct Links {
  const uint32_t* to;  // [n][degree]
  int64_t degree;
  const uint32_t* entries;  // where walks begin
  int64_t n_entries;
};

// The ways of a search under a filter.
enum Way : int {
  kPlanned,   // whichever costs least
  kScan,      // all rows that match
  kHop,       // a walk from match to match, through the links of rows that do not match
  kPost,      // a wider walk as without a filter, of which matches are kept
  kGaveUp,    // a walk that met too few, then a scan
};

// What walks of some widths score, as measured when the graph was built, and what that costs in rows of a scan, as
// measured with AVX2 and AVX-512 on rows of 196 bytes: such a row lies anywhere, and is held against the frontier.
struct FilterCosts {
  static constexpr int kWidths = 4;
  float widths[kWidths], scored[kWidths];
  double plain = 1.7;  // each of them
  double after = 0.0;  // what follows a walk
};

// Over row-major codes of a float or affine layout; effort is the width of the frontier. Walks go to the best row where
// they have not been, or, with wider frontiers, to `several` at a time.
class GraphFinder : public Finder {
 public:
  GraphFinder(const Stored& stored, const Links& links, const FilterCosts& costs, bool several = true)
      : Finder(stored), links_(links), costs_(costs), several_(several) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;
  void prefer(int way) override { preferred_ = Way(way); }

 private:
  Links links_;
  FilterCosts costs_;
  bool several_;
  Way preferred_ = kPlanned;
};

}  // namespace nearfield
