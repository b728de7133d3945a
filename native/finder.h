// What finds rows for one query after another, natively: the part of an index that a pipeline calls.
#pragma once
#include <cstdint>
#include <memory>

#include "scan.h"

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

class Frontier;

// Is told, while a search goes on, which rows stand best so far.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void look(const Frontier& best) = 0;
};

// What comes back for one query: places for k rows, and how many were scored.
struct Found {
  int64_t* ids;   // -1 where there are fewer
  float* scores;  // -inf likewise
  int64_t scored;
  Watcher* watcher = nullptr;  // who wants to see it come
};

class Finder {
 public:
  virtual ~Finder() = default;
  virtual std::unique_ptr<Scratch> scratch() const = 0;
  // The best k rows for query i of q with so much effort, in the finder's own measure. `rough`: scores are made again by
  // who asks, and may be as rough as the search wants them.
  virtual void find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                    Scratch& scratch, Found& out) const = 0;
  const Stored& stored() const { return stored_; }

 protected:
  explicit Finder(const Stored& stored) : stored_(stored) {}
  Stored stored_;
};

// Every query of q, on so many threads.
void find_all(const Finder& finder, const Folded& q, int64_t k, int64_t effort, const uint64_t* allow, int threads,
              int64_t* ids, float* scores, int64_t* scored);

// The i-th of several folded queries.
Folded one_of(const Folded& q, const Format& f, int64_t i);

}  // namespace nearfield
