// Rows in memory and on disk, as Python holds them.
#pragma once
#include <memory>

#include "bind.h"
#include "disk.h"
#include "finder.h"

namespace nearfield {

struct BoundDisk {
  std::unique_ptr<DiskRows> rows;
  nb::object sums;
};

// Rows of codes beside the arrays that they read.
struct BoundRows {
  Stored stored;
  nb::object format, codes, terms;
  const DiskRows* disk = nullptr;  // where the codes are, if not in memory
  nb::object checks = nb::none();  // of codes that are mapped
};

struct BoundChecks {
  std::unique_ptr<Checks> checks;
  nb::object sums;
};

}  // namespace nearfield
