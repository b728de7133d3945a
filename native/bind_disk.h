// Rows on disk, as Python holds them.
#pragma once
#include <memory>

#include "bind.h"
#include "disk.h"

namespace nearfield {

struct BoundDisk {
  std::unique_ptr<DiskRows> rows;
  nb::object sums;
};

}  // namespace nearfield
