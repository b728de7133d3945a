// Lines of rows beside what queries need for them, as Python holds them.
#pragma once
#include <memory>
#include <vector>

#include "bind.h"
#include "line_scores.h"

namespace nearfield {

// (axes, scales, offsets, steps, digits, of_less)
Axes axes(nb::tuple given, int64_t width, std::vector<nb::object>& kept);

struct BoundLines {
  std::vector<nb::object> kept;
  std::unique_ptr<PaddedAxes> axes;
  LineRows rows;

  BoundLines(In<uint8_t, 2> lines, nb::tuple given, bool lifted) {
    const int64_t width = int64_t(lines.shape(1));
    expect(width >= 64 && width % 64 == 0, "lines: expected [n, 64 or more]");
    const Axes made = nearfield::axes(given, width, kept);
    axes = std::make_unique<PaddedAxes>(made, width);
    rows = {lines.data(), int64_t(lines.shape(0)), width, made.dim, &axes->axes, lifted};
    kept.push_back(nb::cast(lines));
  }
};

}  // namespace nearfield
