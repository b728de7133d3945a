// Searches of a graph among the rows that a filter lets through, each in the way that costs least.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "frontier.h"
#include "graph.h"
#include "tile.h"
#include "topk.h"

namespace nearfield {

// How a search goes on under a filter.
struct FilterPlan {
  Way way;
  int64_t width;  // of the frontier
  int64_t most;   // what a walk from match to match may cost, in rows of a scan
};

// The way that costs least, or this one: for the best k rows, where a frontier of `width` serves without a filter.
FilterPlan plan_filtered(const FilterCosts& costs, int64_t n, int64_t degree, int64_t matches, int64_t k, int64_t width,
                         Way way);

// What one thread needs for such searches.
class Filtered {
 public:
  // A walk as without a filter: the best `k` of a frontier of `width`.
  using Plain = std::function<void(int64_t k, int64_t width, Found& out)>;

  Filtered(const Stored& stored, const Links& links);

  // Always min(k, matches) rows.
  void run(const Folded& one, int64_t k, int64_t width, const FilterCosts& costs, Way forced, const uint64_t* allow,
           bool rough, const Plain& plain, Found& out);

 private:
  bool walk(int64_t k, const FilterPlan& plan, Watcher* watcher);
  bool post(int64_t k, const FilterPlan& plan, const Plain& plain, Watcher* watcher);
  void scan(int64_t k, bool rough);
  int64_t beyond(int64_t row);
  int64_t among(int64_t row);
  void ask(int64_t row) const;
  void take(int64_t row);
  void meet();
  void refine(int64_t k, Found& out);
  void write(int64_t k, Found& out) const;
  bool allowed(int64_t row) const;

  const Links links_;
  Work w_;
  Tile tile_, other_;
  DenseQueries q_;
  const uint64_t* allow_ = nullptr;
  int64_t matches_ = 0, count_ = 0;
  Frontier near_, found_;
  Seen seen_;
  std::vector<int64_t> ids_;
  std::vector<float> scores_;
  std::vector<int32_t> where_;
  std::vector<uint32_t> through_, chosen_;
};

}  // namespace nearfield
