#include "train.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "pool.h"

namespace nearfield {
namespace {

// Centroids [c, d] side by side in panels [groups][d][kPanel]; what lies behind the last is left alone.
void fill_panels(const float* centroids, int64_t c, int64_t d, float* out) {
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < d; j++) out[((i / kPanel) * d + j) * kPanel + i % kPanel] = centroids[i * d + j];
}

}  // namespace

void assign(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* centroids, int64_t c,
            int threads, int32_t* ids, float* distances) {
  const int64_t groups = (c + kPanel - 1) / kPanel;
  std::vector<float> panels(size_t(groups * d * kPanel), 0.0f);
  fill_panels(centroids, c, d, panels.data());
  std::vector<float> half(size_t(groups * kPanel), -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < c; i++) {
    double square = 0.0;
    for (int64_t j = 0; j < d; j++) square += double(centroids[i * d + j]) * double(centroids[i * d + j]);
    half[size_t(i)] = float(-0.5 * square);
  }
  parallel(threads, [&](int t) {
    const int64_t from = part_begin(n, 48, t, threads), to = part_begin(n, 48, t + 1, threads);
    if (from >= to) return;
    isa.assign(x + from * d, to - from, d, panels.data(), half.data(), groups, ids + from);
    for (int64_t i = from; i < to; i++) isa.squared(x + i * d, centroids + ids[i] * d, d, distances + i);
  });
}

int64_t plus_plus(const Kernels& isa, const float* x, int64_t n, int64_t d, int64_t k, int64_t first, const double* draws,
                  int64_t* ids) {
  const int64_t padded = (n + kPanel - 1) / kPanel * kPanel;
  std::vector<float> columns(size_t(padded * d), 0.0f), best(size_t(padded), std::numeric_limits<float>::infinity());
  std::vector<double> total(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < d; j++) columns[size_t(j * padded + i)] = x[i * d + j];
  ids[0] = first;
  for (int64_t c = 1; c < k; c++) {
    isa.lower_gaps(columns.data(), padded, d, x + ids[c - 1] * d, best.data());
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) total[size_t(i)] = sum += double(best[size_t(i)]);
    if (!(sum > 0.0)) return c;
    const auto at = std::upper_bound(total.begin(), total.end(), draws[c - 1] * sum);
    ids[c] = std::min<int64_t>(at - total.begin(), n - 1);
  }
  return k;
}

void part_tables(const Kernels& isa, const float* q, int64_t m, const float* codebooks, int64_t parts,
                 int64_t c, int64_t sub, int threads, float* out) {
  const int64_t groups = (c + kPanel - 1) / kPanel;
  parallel(threads, [&](int t) {
    std::vector<float> dots(size_t(groups * kPanel)), panels(size_t(groups * sub * kPanel), 0.0f);
    for (int64_t p = parts * t / threads; p < parts * (t + 1) / threads; p++) {
      fill_panels(codebooks + p * c * sub, c, sub, panels.data());
      for (int64_t i = 0; i < m; i++) {
        isa.panel_dots(q + (i * parts + p) * sub, sub, panels.data(), groups, dots.data());
        std::copy_n(dots.data(), c, out + (i * parts + p) * c);
      }
    }
  });
}

void hamming(const Kernels& isa, const uint8_t* q, int64_t m, const uint8_t* codes, int64_t n, int64_t width,
             int threads, int32_t* out) {
  constexpr int64_t chunk = 1024;  // rows kept in cache for all queries
  parallel(threads, [&](int t) {
    const int64_t to = part_begin(n, 64, t + 1, threads);
    for (int64_t r = part_begin(n, 64, t, threads); r < to; r += chunk) {
      const int64_t count = std::min(chunk, to - r);
      for (int64_t i = 0; i < m; i++) isa.hamming(q + i * width, codes + r * width, count, width, out + i * n + r);
    }
  });
}

}  // namespace nearfield
