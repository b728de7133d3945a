// Finders and the rows that they search, as Python holds them.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "bind_work.h"
#include "disk.h"
#include "graph.h"

namespace nearfield {

// Native objects beside the arrays that they read.
struct BoundRows {
  Stored stored;
  nb::object format, codes, terms;
  bool blocks = false;
  const DiskRows* disk = nullptr;     // where the codes are, if not in memory
  nb::object checks = nb::none();     // of codes that are mapped
};
struct BoundFinder {
  std::unique_ptr<Finder> finder;
  std::vector<nb::object> kept;
  int64_t looks = 0;  // the width of the queries where it looks at themselves
};

// What is searched has to be in memory.
inline const Stored& in_memory(const BoundRows& rows) {
  expect(!rows.disk, "rows: expected codes in memory");
  return rows.stored;
}

// From widths and rows scored, as they stand in a column.
inline FilterCosts filter_costs(const In<float, 2>& effort) {
  FilterCosts costs;
  expect(effort.shape(0) == 2 && effort.shape(1) == size_t(FilterCosts::kWidths), "effort: expected [2, 4]");
  std::copy_n(effort.data(), FilterCosts::kWidths, costs.widths);
  std::copy_n(effort.data() + FilterCosts::kWidths, FilterCosts::kWidths, costs.scored);
  return costs;
}

}  // namespace nearfield
