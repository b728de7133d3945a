#include "coding.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "pool.h"

namespace nearfield {

void group_sums(const Kernels& isa, const float* x, int64_t n, int64_t d, const int32_t* labels, int64_t k, int threads,
                double* out) {
  std::fill_n(out, k * d, 0.0);
  parallel(threads, [&](int t) {  // a thread has some of the columns, so that rows are added in their order
    const int64_t from = part_begin(d, 16, t, threads), to = part_begin(d, 16, t + 1, threads);
    if (from >= to) return;
    for (int64_t i = 0; i < n; i++) isa.add_row(x + i * d + from, to - from, out + labels[i] * d + from);
  });
}

void spans(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* mean, int threads, double* low,
           double* high) {
  parallel(threads, [&](int t) {
    for (int64_t i = part_begin(n, 16, t, threads); i < part_begin(n, 16, t + 1, threads); i++)
      isa.span(x + i * d, mean, d, low + i, high + i);
  });
}

void even_steps(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* mean, const double* firsts,
                const double* lasts, int bits, int cell_bits, int threads, void* out, double* sums) {
  const bool wide = bits + cell_bits > 8;
  parallel(threads, [&](int t) {
    EvenSteps s;
    s.top = double((1 << bits) - 1), s.cells = double(1 << cell_bits), s.wide = wide;
    for (int64_t i = part_begin(n, 16, t, threads); i < part_begin(n, 16, t + 1, threads); i++) {
      s.low = firsts[2 * i], s.step = firsts[2 * i + 1] > 0.0 ? firsts[2 * i + 1] : 1.0;
      s.last_low = lasts[2 * i], s.last_step = lasts[2 * i + 1];
      isa.even_steps(x + i * d, mean, d, &s, static_cast<uint8_t*>(out) + i * d * (wide ? 2 : 1), sums + 3 * i);
    }
  });
}

void level_codes(const Kernels& isa, const float* columns, int64_t n, LevelGrids grids, int threads, uint8_t* out,
                 double* measures) {
  const int64_t total = grids.starts[grids.columns];
  std::vector<float> edges(size_t(total), std::numeric_limits<float>::infinity());
  for (int64_t e = 0; e + 1 < total; e++) edges[size_t(e)] = (grids.sums[e + 1] + grids.sums[e]) / 2;
  grids.edges = edges.data();
  parallel(threads, [&](int t) {
    const int64_t to = part_begin(n, kLevelRows, t + 1, threads);
    for (int64_t i = part_begin(n, kLevelRows, t, threads); i < to; i += kLevelRows)
      isa.level_codes(columns + i, n, std::min<int64_t>(kLevelRows, to - i), &grids, out + i * grids.width, measures + i,
                      measures + n + i);
  });
}

void level_values(const Kernels& isa, const uint8_t* codes, int64_t n, int64_t width, const LevelPiece* pieces,
                  int64_t n_pieces, const float* levels, int64_t columns, int threads, float* out) {
  parallel(threads, [&](int t) {
    for (int64_t i = part_begin(n, 16, t, threads); i < part_begin(n, 16, t + 1, threads); i++)
      isa.level_values(codes + i * width, pieces, n_pieces, levels, columns, out + i * columns);
  });
}

void weighted_sums(const Kernels& isa, const float* weights, int64_t n, int64_t k, const float* rows, int64_t d,
                   int threads, float* out) {
  parallel(threads, [&](int t) {
    const int64_t from = part_begin(n, 24, t, threads), to = part_begin(n, 24, t + 1, threads);
    if (from < to) isa.weighted_sums(weights + from * k, to - from, k, rows, d, out + from * d);
  });
}

}  // namespace nearfield
