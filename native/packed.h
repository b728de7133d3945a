// Walks over a graph whose rows are packed into a line of memory each: a row met is one line read, and only the best
// are scored by their codes.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "finder.h"
#include "graph.h"
#include "on_lines.h"

namespace nearfield {

// What turns a query into the weights of lines: its products with some axes, each spread over digits of two bits.
struct Axes {
  const int8_t* rows;     // [count][dim]
  const float* scales;    // [count]: what the bytes of each axis are multiplied by
  const float* offsets;   // [count], taken from the products
  const float* steps;     // [count]: what a whole number of each axis stands for
  const uint8_t* digits;  // [count]: of each axis, the lowest first; four times `width - 4` in all, or fewer
  int64_t count, dim;
  float of_less;  // of LineQuery
};

// The same as kernels read them, with room for every array that LineAxes names.
struct PaddedAxes {
  LineVector<int8_t> rows;
  std::vector<int32_t> sums, sources;
  std::vector<float> scales, offsets, steps, middles, powers;
  LineAxes axes;

  PaddedAxes(const Axes& a, int64_t width);
};

// Room for weighing one query after another against lines.
struct LineRoom {
  LineVector<float> given, of_axes, floats;
  LineVector<uint8_t> bytes;
  LineVector<int32_t> products;
  LineVector<int8_t> weights;

  LineRoom(const LineAxes& axes, int64_t width)
      : given(size_t(axes.stride)), of_axes(size_t(axes.count)), floats(size_t(4 * width)), bytes(given.size()),
        products(of_axes.size()), weights(size_t(5 * width)) {}

  // The query is `given`, with zeros behind it.
  LineQuery weigh(const Kernels& isa, const LineAxes& axes, int64_t width) {
    const LineDesk desk = {given.data(), bytes.data(), products.data(), of_axes.data(), floats.data(), weights.data()};
    LineQuery out;
    isa.line_query(&axes, &desk, width, &out);
    return out;
  }
};

struct Lines {
  const uint8_t* rows;  // [n][width]
  int64_t width;
  Axes axes;
};

constexpr int64_t kLineEnd = 4;  // bytes of a line that are no digits

class PackedFinder : public Finder {
 public:
  PackedFinder(const Stored& stored, const Links& links, const Lines& lines, const FilterCosts& costs);
  std::unique_ptr<Scratch> scratch() const override;
  // Effort is the width of the frontier. Needs the queries as given. Under a filter, scans and walks from match to
  // match are those of the codes.
  void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
            Scratch& scratch, Found& out) const override;
  void prefer(int way) override { preferred_ = Way(way); }

 private:
  Links links_;
  Lines lines_;
  PaddedAxes axes_;
  FilterCosts costs_;
  Way preferred_ = kPlanned;
};

}  // namespace nearfield
