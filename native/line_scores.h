// How near rows are by their lines: what a walk sees while a graph grows, one line of memory for each row that it meets.
#pragma once
#include <algorithm>
#include <cstdint>

#include "byte_rows.h"
#include "packed.h"

namespace nearfield {

struct LineRows {
  const uint8_t* rows;  // [n][width]
  int64_t n, width, dim;
  const LineAxes* axes;
  bool lifted;  // whether rows differ in length under dot, so that lifts count
};

// Scores of lines from one row after another, whose bytes are the query. What one thread needs.
class LineScores {
 public:
  LineScores(const Kernels& isa, const ByteRows& rows, const LineRows& lines)
      : isa_(isa), rows_(rows), lines_(lines), room_(*lines.axes, lines.width) {}

  void from(uint32_t row) {
    const int8_t* bytes = rows_.bytes + int64_t(row) * rows_.stride;
    mine_ = rows_.sides[row];
    for (int64_t j = 0; j < lines_.dim; j++) room_.given[size_t(j)] = mine_.scale * float(bytes[j]);
    query_ = room_.weigh(isa_, *lines_.axes, lines_.width);
  }

  // Larger is nearer; out has room for a multiple of four.
  void to(const uint32_t* rows, int64_t count, float* out) const {
    isa_.line_scores(lines_.rows, rows, count, &query_, out);
    if (lines_.lifted)
      for (int64_t r = 0; r < count; r++) out[r] += mine_.lift * rows_.sides[rows[r]].lift;
  }

 private:
  const Kernels& isa_;
  const ByteRows& rows_;
  const LineRows& lines_;
  LineQuery query_ = {};
  Side mine_ = {};
  LineRoom room_;
};

}  // namespace nearfield
