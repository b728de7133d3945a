// Queries over rows of codes, as Python hands them over.
#pragma once
#include <nanobind/stl/optional.h>

#include "bind.h"
#include "scan.h"

namespace nearfield {

constexpr int64_t kMostRows = 4294967295;  // row numbers are kept in 32 bits while searching

using Vector = std::optional<In<float, 1>>;

// The coefficients of m queries: weights, nibble tables, byte tables, inside, slope, outside, squares; None where absent.
Folded folded(const Format& f, int64_t m, nb::tuple q);

Work work(int isa, const Format& f, const uint8_t* codes, int64_t n, const Folded& q, int metric, const Vector& terms,
          int threads);

}  // namespace nearfield
