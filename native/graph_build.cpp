#include "graph_build.h"

#include <algorithm>
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
      if (g.counts[row] == g.room) keep(g, row, linker.prune(linker.around(row)));
      links[g.counts[row]++] = edges[e].from;
    }
  });
}

void grow(const Growing& g, const uint32_t* rows, int64_t count) {
  std::vector<std::vector<uint32_t>> chosen{size_t(count)};
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    chosen[size_t(i)] = linker.prune(linker.search(rows[i]));
  });
  for (int64_t i = 0; i < count; i++) keep(g, rows[i], chosen[size_t(i)]);
  link_back(g, rows, count);
}

void settle(const Growing& g) {
  share_out(g.threads, g.rows.n, g, [&](Linker& linker, int64_t row) {
    if (g.counts[row] > g.degree) keep(g, uint32_t(row), linker.prune(linker.around(uint32_t(row))));
  });
}

}  // namespace nearfield
