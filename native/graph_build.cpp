#include "graph_build.h"

#include <algorithm>
#include <vector>

#include "graph_linker.h"

namespace nearfield {
namespace {

void write(const Growing& g, const std::vector<uint32_t>& links, uint32_t* out) {
  std::fill(std::copy(links.begin(), links.end(), out), out + g.chosen, kNoLink);
}

uint32_t taker(uint64_t edge) { return uint32_t(edge >> 32); }

}  // namespace

void choose(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* starts, uint32_t* chosen) {
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    const auto& met = starts ? linker.search(rows[i], starts + i, 1) : linker.search(rows[i], g.entries, g.n_entries);
    write(g, linker.prune(met, g.chosen), chosen + i * g.chosen);
  });
}

void choose_near(const Growing& g, int64_t first, int64_t count, const uint32_t* near, int64_t k, uint32_t* chosen) {
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    const uint32_t* from = near + i * k;
    const int64_t some = std::find_if(from, from + k, [&](uint32_t r) { return r >= g.rows.n; }) - from;
    write(g, linker.prune(linker.sorted(uint32_t(first + i), from, some), g.chosen), chosen + i * g.chosen);
  });
}

void choose_beyond(const Growing& g, const uint32_t* rows, int64_t count, uint32_t* chosen) {
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    write(g, linker.prune(linker.beyond(rows[i]), g.chosen), chosen + i * g.chosen);
  });
}

void enter(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* chosen) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t* from = chosen + i * g.chosen;
    keep(g, rows[i], from, std::find(from, from + g.chosen, kNoLink) - from);
  }
}

void lead_back(const Growing& g, const uint64_t* edges, int64_t count) {
  std::vector<int64_t> starts;
  for (int64_t e = 0; e < count; e++)
    if (e == 0 || taker(edges[e]) != taker(edges[e - 1])) starts.push_back(e);
  starts.push_back(count);
  share_out(g.threads, int64_t(starts.size()) - 1, g, [&](Linker& linker, int64_t i) {
    const uint32_t row = taker(edges[starts[size_t(i)]]);
    for (int64_t e = starts[size_t(i)]; e < starts[size_t(i) + 1]; e++) {
      const uint32_t from = uint32_t(edges[e]);
      uint32_t* links = g.links + int64_t(row) * g.room;
      if (std::find(links, links + g.counts[row], from) != links + g.counts[row]) continue;
      if (g.counts[row] == g.room) keep(g, row, linker.prune(linker.around(row), g.degree));
      put_link(links + g.counts[row]++, from);
    }
  });
}

void settle(const Growing& g, const uint32_t* rows, int64_t count) {
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    if (g.counts[rows[i]] > g.degree) keep(g, rows[i], linker.prune(linker.around(rows[i]), g.degree));
  });
}

}  // namespace nearfield
