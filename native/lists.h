// Lists of rows about centroids: those that promise most are scanned, and nothing else.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "finder.h"
#include "once.h"

namespace nearfield {

// Rows lie in the order of their lists. A list begins and ends anywhere within the blocks of 32 of a table layout.
struct Lists {
  const uint32_t* order;   // [n] the row at each place; null where rows lie in their own order
  const uint32_t* starts;  // [count + 1] where lists begin
  int64_t count;
  const int8_t* centroids;  // [count][dim], of which each has a scale; null where there is one list only
  const float* scales;      // [count]
  const float* slopes;      // [count] what ranking multiplies the product of query and centroid by
  const float* leans;       // [count] and what it takes from that
  int64_t dim;
  bool centred;  // codes are of what is left of a row when its centroid is taken from it
};

// Over any layout; effort is how many rows the lists that are scanned hold together, of those that a filter admits.
class ListFinder : public Finder {
 public:
  ListFinder(const Stored& stored, const Lists& lists);
  explicit ListFinder(const Stored& stored);  // all rows as one list
  std::unique_ptr<Scratch> scratch() const override;
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;
  const uint32_t* order() const override { return lists_.order; }

 private:
  // Lists are scanned until enough is found: what is missing has no score.
  void scan_all(const Folded&, int64_t, const uint64_t*, Found&) const override {}
  const uint32_t* places() const;

  Lists lists_;
  std::vector<const uint8_t*> centroids_;
  uint32_t whole_[2] = {0, 0};
  mutable Once placed_;
  mutable std::vector<uint32_t> places_;  // of each row, once a filter was given that few rows match
};

}  // namespace nearfield
