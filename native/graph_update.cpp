#include "graph_update.h"

#include "graph_linker.h"

namespace nearfield {
namespace {

bool leads_astray(const Growing& g, uint32_t row) {
  const uint32_t* links = g.links + int64_t(row) * g.room;
  return !g.dead[row] && std::any_of(links, links + g.counts[row], [&](uint32_t to) { return g.dead[to]; });
}

}  // namespace

void mend(const Growing& g, const uint32_t* rows, int64_t count) {
  std::vector<uint32_t> wrong;
  std::copy_if(rows, rows + count, std::back_inserter(wrong), [&](uint32_t row) { return leads_astray(g, row); });
  // A row reads its own links and those of dead rows, which stay as they are: threads do not meet.
  share_out(g.threads, int64_t(wrong.size()), g, [&](Linker& linker, int64_t i) {
    keep(g, wrong[size_t(i)], linker.prune(linker.beyond(wrong[size_t(i)]), g.degree));
  });
  const std::vector<uint64_t> edges = edges_back(g, wrong.data(), int64_t(wrong.size()));
  lead_back(g, edges.data(), int64_t(edges.size()));
}

}  // namespace nearfield
