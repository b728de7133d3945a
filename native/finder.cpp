#include "finder.h"

#include <algorithm>

#include "pool.h"

namespace nearfield {

Folded one_of(const Folded& q, const Format& f, int64_t i) {
  const auto at = [i](const float* p, int64_t width) { return p ? p + i * width : nullptr; };
  return {1, at(q.weights, f.dim), at(q.nibble_tables, 32 * f.nibble_columns), at(q.byte_tables, 256 * f.byte_columns),
          at(q.inside, 1), at(q.slope, 1), at(q.outside, 1), at(q.squares, 1)};
}

void Finder::complete(const Folded& q, int64_t i, int64_t k, const uint64_t* allow, int64_t matches, Found& out) const {
  const int64_t enough = std::min(k, matches);
  if (enough < 1 || out.ids[enough - 1] >= 0) return;
  scan_all(one_of(q, stored_.format, i), k, allow, out);
  out.scored += matches;
}

void Finder::scan_all(const Folded& one, int64_t k, const uint64_t* allow, Found& out) const {
  scan(stored_.work(one, allow), k, out.ids, out.scores);
}

void find_all(const Finder& finder, const Folded& q, int64_t k, int64_t effort, const Filters& filters, int threads,
              int64_t* ids, float* scores, int64_t* scored, int64_t* ways) {
  const int64_t m = q.queries;
  const uint32_t* order = finder.order();
  const int jobs = int(std::clamp<int64_t>(m, 1, threads));
  parallel(jobs, [&](int j) {
    const std::unique_ptr<Scratch> scratch = finder.scratch();
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to; i++) {
      Found out = {ids + i * k, scores + i * k, 0};
      if (filters.bits) out.matches = filters.matching(i);
      finder.find(q, i, k, effort, filters.of(i), false, *scratch, out);
      finder.complete(q, i, k, filters.of(i), filters.bits ? out.matches : finder.stored().n, out);
      scored[i] = out.scored, ways[i] = out.way;
      for (int64_t r = 0; order && r < k && out.ids[r] >= 0; r++) out.ids[r] = order[out.ids[r]];
    }
  });
}

}  // namespace nearfield
