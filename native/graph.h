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

// Over row-major codes of a float or affine layout; effort is the width of the frontier.
class GraphFinder : public Finder {
 public:
  GraphFinder(const Stored& stored, const Links& links) : Finder(stored), links_(links) {}
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;

 private:
  Links links_;
};

}  // namespace nearfield
