#include "graph_build.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "graph_linker.h"

namespace nearfield {
namespace {

struct Edge {
  uint32_t to, from;
  bool operator<(const Edge& other) const { return to < other.to || (to == other.to && from < other.from); }
};

}  // namespace

void link_back(const Growing& g, const uint32_t* rows, int64_t count) {
  std::vector<Edge> edges;
  for (int64_t i = 0; i < count; i++)
    for (int64_t l = 0; l < g.counts[rows[i]]; l++) edges.push_back({g.links[int64_t(rows[i]) * g.room + l], rows[i]});
  std::sort(edges.begin(), edges.end());
  std::vector<size_t> starts;
  for (size_t e = 0; e < edges.size(); e++)
    if (e == 0 || edges[e].to != edges[e - 1].to) starts.push_back(e);
  starts.push_back(edges.size());
  share_out(g.threads, int64_t(starts.size()) - 1, g, [&](Linker& linker, int64_t i) {
    const uint32_t row = edges[starts[size_t(i)]].to;
    for (size_t e = starts[size_t(i)]; e < starts[size_t(i) + 1]; e++) {
      uint32_t* links = g.links + int64_t(row) * g.room;
      if (std::find(links, links + g.counts[row], edges[e].from) != links + g.counts[row]) continue;
      if (g.counts[row] == g.room) keep(g, row, linker.prune(linker.around(row), g.degree));
      put_link(links + g.counts[row]++, edges[e].from);
    }
  });
}

void grow(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* starts) {
  std::vector<std::vector<uint32_t>> chosen{size_t(count)};
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    const auto& met = starts ? linker.search(rows[i], starts + i, 1) : linker.search(rows[i], g.entries, g.n_entries);
    chosen[size_t(i)] = linker.prune(met, g.chosen);
  });
  for (int64_t i = 0; i < count; i++) keep(g, rows[i], chosen[size_t(i)]);
  link_back(g, rows, count);
}

void link_near(const Growing& g, const uint32_t* near, int64_t k) {
  share_out(g.threads, g.rows.n, g, [&](Linker& linker, int64_t row) {
    const uint32_t* from = near + row * k;
    const int64_t count = std::find_if(from, from + k, [&](uint32_t r) { return r >= g.rows.n; }) - from;
    keep(g, uint32_t(row), linker.prune(linker.sorted(uint32_t(row), from, count), g.chosen));
  });
  std::vector<uint32_t> all(size_t(g.rows.n));
  std::iota(all.begin(), all.end(), 0u);
  link_back(g, all.data(), g.rows.n);
}

void settle(const Growing& g) {
  share_out(g.threads, g.rows.n, g, [&](Linker& linker, int64_t row) {
    if (g.counts[row] > g.degree) keep(g, uint32_t(row), linker.prune(linker.around(uint32_t(row)), g.degree));
  });
}

}  // namespace nearfield
