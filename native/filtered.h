// Searches of a graph among the rows that a filter lets through, each in the way that costs least.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "best.h"
#include "graph.h"
#include "row_scorer.h"
#include "walk.h"

namespace nearfield {

// How a search goes on under a filter.
struct FilterPlan {
  Way way;
  int64_t width;  // of the frontier
  int64_t most;   // what a walk from match to match may cost, in rows of a scan
};

// What lies beside the codes costs as much whatever these are; costs were measured where they were of 196 bytes.
inline double scan_rows(const Format& f) { return 196.0 / double(std::max<int64_t>(f.width, 64)); }

// The way that costs least, or this one: for the best k rows, where a frontier of `width` serves without a filter.
FilterPlan plan_filtered(const FilterCosts& costs, const Format& format, int64_t n, int64_t degree, int64_t matches,
                         int64_t k, int64_t width, Way way);

// The best k rows of a walk that a filter admits; null: all.
inline void write_admitted(const Walking& walk, int64_t k, const uint64_t* allow, Found& out) {
  int64_t at = 0;
  for (int64_t r = 0; r < walk.size() && at < k; r++) {
    if (allow && !has(allow, walk.row(r))) continue;
    out.ids[at] = walk.row(r), out.scores[at++] = walk.score(r);
  }
  for (; at < k; at++) out.ids[at] = -1, out.scores[at] = -std::numeric_limits<float>::infinity();
}

// What one thread needs for such searches.
class Filtered {
 public:
  // A walk as without a filter, of whose frontier of this width the best k matches are kept.
  using Plain = std::function<void(int64_t width, Found& out)>;

  Filtered(const Stored& stored, const Links& links);

  // Always min(k, matches) rows.
  void run(const Folded& one, int64_t k, int64_t width, const FilterCosts& costs, Way forced, const uint64_t* allow,
           bool rough, const Plain& plain, Found& out);

 private:
  bool walk(int64_t k, const FilterPlan& plan, Watcher* watcher);
  void begin(int64_t width);
  void scan(int64_t k, Found& out);
  int64_t beyond(int64_t row);
  int64_t gather(int64_t row, uint32_t* others);
  void ask(int64_t row) const;
  void meet();

  const Kernels& isa_;
  const Format format_;
  const int64_t n_, most_;
  const Links links_;
  RowScorer scorer_;
  Walking walk_;
  RowSet passed_;  // rows whose links were read in place of them
  Best best_;
  const uint64_t* allow_ = nullptr;
  int64_t count_ = 0, some_ = 0;
  std::vector<uint32_t> matching_, other_, rows_;
  std::vector<float> scores_, first_;
  std::vector<int32_t> where_;
};

}  // namespace nearfield
