// What finds rows for one query after another, natively: the part of an index that a pipeline calls.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>

#include "bitmap.h"
#include "scan.h"
#include "walk.h"

namespace nearfield {

// Rows of codes, as searched: everything of Work that stays from query to query.
struct Stored {
  const Kernels* isa;
  Format format;
  const uint8_t* codes;
  int64_t n;
  int metric;
  const float* terms;  // [n] or null

  Work work(const Folded& q, const uint64_t* allow = nullptr) const {
    return {isa, &format, codes, n, q, metric, terms, allow, 1};
  }
};

// What one thread needs to search; used by one at a time.
class Scratch {
 public:
  virtual ~Scratch() = default;
};

// Is told, while a search goes on, which rows stand best so far.
class Watcher {
 public:
  // Asks for the rows among the best `most` that a filter admits.
  Watcher(int64_t most, const uint64_t* allow) : most_(most), allow_(allow) {}
  virtual ~Watcher() = default;
  // Now and then, those where the walk has been already, which seldom leave again.
  void look(const Walking& walk) {
    if (++steps_ % kLook) return;
    const int64_t count = std::min(walk.size(), most_);
    for (int64_t r = 0; r < count; r++)
      if (walk.visited(r) && (!allow_ || has(allow_, walk.row(r)))) ask(walk.row(r));
  }

 private:
  static constexpr int64_t kLook = 8;  // steps of a walk between two looks at where it stands
  virtual void ask(int64_t row) = 0;   // it will probably be among those found

  int64_t most_, steps_ = 0;
  const uint64_t* allow_;
};

// What comes back for one query: places for k rows, and how many were scored.
struct Found {
  int64_t* ids;   // -1 where there are fewer
  float* scores;  // -inf likewise
  int64_t scored;
  bool sorted = true;  // whether they are wanted best first
  int64_t matches = -1;  // how many rows the filter lets through; -1 where it is not known
  int way = 0;           // which way was taken under a filter, where the finder has several
  Watcher* watcher = nullptr;  // who wants to see it come
};

class Finder {
 public:
  virtual ~Finder() = default;
  virtual std::unique_ptr<Scratch> scratch() const = 0;
  // The best k rows for query i of q with so much effort, in the finder's own measure. `rough`: scores are made again by
  // who asks, and may be as rough as the search wants them.
  // Fewer than min(k, matches) where a walk or a table leads to fewer: see `complete`.
  virtual void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                    Scratch& scratch, Found& out) const = 0;
  // Where `find` found fewer than min(k, matches) rows, scores all of the `matches` that a filter lets through.
  void complete(const Folded& q, int64_t i, int64_t k, const uint64_t* allow, int64_t matches, Found& out) const;
  // Which way to take under a filter, for comparisons; 0 leaves the choice to the finder.
  virtual void prefer(int) {}
  // Where rows lie in an order of their own, the row at each place: codes and what is found are by place then.
  virtual const uint32_t* order() const { return nullptr; }
  const Stored& stored() const { return stored_; }

 protected:
  explicit Finder(const Stored& stored) : stored_(stored) {}
  // The best k of all rows that a filter lets through: codes lie row by row.
  virtual void scan_all(const Folded& one, int64_t k, const uint64_t* allow, Found& out) const;
  Stored stored_;
};

// The filters of some queries: one of all, or one of each.
struct Filters {
  const uint64_t* bits = nullptr;
  const int64_t* matches = nullptr;
  int64_t stride = 0;  // words from the filter of one query to that of the next

  const uint64_t* of(int64_t i) const { return bits ? bits + i * stride : nullptr; }
  int64_t matching(int64_t i) const { return matches[stride ? i : 0]; }
};

// Every query of q, on so many threads: always min(k, matches) rows.
void find_all(const Finder& finder, const Folded& q, int64_t k, int64_t effort, const Filters& filters, int threads,
              int64_t* ids, float* scores, int64_t* scored, int64_t* ways);

// The i-th of several folded queries.
Folded one_of(const Folded& q, const Format& f, int64_t i);

}  // namespace nearfield
