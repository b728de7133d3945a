// Finders and the rows that they search, as Python holds them.
#pragma once
#include <memory>
#include <vector>

#include "bind_work.h"
#include "finder.h"

namespace nearfield {

// Native objects beside the arrays that they read.
struct BoundRows {
  Stored stored;
  nb::object format, codes, terms;
};
struct BoundFinder {
  std::unique_ptr<Finder> finder;
  std::vector<nb::object> kept;
};

}  // namespace nearfield
