// Rows on disk and checksums, as Python holds them.
#pragma once
#include <memory>

#include "bind.h"
#include "disk.h"

namespace nearfield {

struct BoundDisk {
  std::unique_ptr<DiskRows> rows;
  nb::object sums;
};

struct BoundChecks {
  std::unique_ptr<Checks> checks;
  nb::object sums;
};

}  // namespace nearfield
