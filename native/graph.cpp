#include "graph.h"

#include <algorithm>

#include "best.h"
#include "filtered.h"
#include "row_scorer.h"
#include "walk.h"

namespace nearfield {
namespace {

constexpr int64_t kSeveral = 17;  // narrower frontiers gain nothing by going to several rows at a time

// What one thread needs for one walk after another.
class Walker : public Scratch {
 public:
  Walker(const Stored& stored, const Links& links, bool several)
      : links_(links),
        scorer_(stored, Walking::most_met(links.degree, links.n_entries)),
        walk_(*stored.isa, links.to, links.degree, stored.n, stored.codes, stored.format.width,
              Walking::most_met(links.degree, links.n_entries), several ? kSeveral : Walking::kNever) {}

  // The best k that a filter admits of a frontier of this width.
  void run(const Folded& one, int64_t k, int64_t width, const uint64_t* allow, bool rough, Found& out) {
    scorer_.query(one, true);
    walk_.begin(width, std::max(width, k), k);
    out.scored = 0;
    walk_.meet(links_.entries, links_.n_entries);
    do {
      scorer_.score(walk_.met(), walk_.count(), walk_.scores());
      out.scored += walk_.count();
      walk_.take();
      if (out.watcher) out.watcher->look(walk_);
    } while (walk_.next());
    write_admitted(walk_, k, allow, out);
    if (!rough && scorer_.roughened()) score_found(scorer_, one, k, best_, out);
  }

 private:
  const Links links_;
  RowScorer scorer_;
  Walking walk_;
  Best best_;

 public:
  std::unique_ptr<Filtered> filtered;  // where a filter was given
};

}  // namespace

std::unique_ptr<Scratch> GraphFinder::scratch() const { return std::make_unique<Walker>(stored_, links_, several_); }

void GraphFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                       Scratch& scratch, Found& out) const {
  Walker& walker = static_cast<Walker&>(scratch);
  const Folded one = one_of(q, stored_.format, i);
  if (!allow) return walker.run(one, k, effort, nullptr, rough, out);
  if (!walker.filtered) walker.filtered = std::make_unique<Filtered>(stored_, links_);
  const auto plain = [&](int64_t width, Found& found) { walker.run(one, k, width, allow, rough, found); };
  walker.filtered->run(one, k, effort, costs_, preferred_, allow, rough, plain, out);
}

}  // namespace nearfield
