// Candidates, then scores: what indexes do that gather rows before any of them is scored.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "best.h"
#include "finder.h"
#include "tile.h"

namespace nearfield {

// Takes row numbers in any order and as often as they come, and scores each of them once. What one thread needs.
class Candidates {
 public:
  explicit Candidates(const Stored& stored) : w_(stored.work({})), tile_(w_, 1, kAtOnce), met_(size_t(w_.n + 63) / 64) {}

  // Ready for a query; so many rows are scored at most, or k where that is more.
  void begin(const Folded& one, int64_t k, int64_t most, const uint64_t* allow, bool rough) {
    for (const uint32_t row : listed_) met_[row >> 6] = 0;
    listed_.clear(), tile_.clear();
    w_.folded = one;
    q_ = dense_queries(w_, 0, 1, rough);
    best_.reset(k, nullptr);
    most_ = std::max(most, k), allow_ = allow;
  }

  int64_t count() const { return int64_t(listed_.size()); }
  bool full() const { return count() >= most_; }

  // A row that is met, is not admitted or does not exist changes nothing.
  void add(uint32_t row) {
    if (int64_t(row) >= w_.n) return;
    const uint64_t bit = uint64_t(1) << (row & 63);
    if (met_[row >> 6] & bit || (allow_ && !(allow_[row >> 6] & bit))) return;
    met_[row >> 6] |= bit;
    listed_.push_back(row);
    tile_.add(row);
    tile_.ask(row);
    if (tile_.count() == kAtOnce) flush();
  }

  void end(int64_t k, Found& out) {
    flush();
    best_.write(true, k, out.ids, out.scores);
    out.scored = count();
  }

 private:
  static constexpr int64_t kAtOnce = 64;

  void flush() {
    if (tile_.count()) take(tile_.score(q_, 0, 1, 0), tile_.count());
    tile_.clear();
  }
  void take(const float* got, int64_t count) {
    for (int64_t r = 0; r < count; r++) best_.push(got[r], tile_.id(r));
  }

  Work w_;
  Tile tile_;
  std::vector<uint64_t> met_;  // a bit a row
  std::vector<uint32_t> listed_;
  DenseQueries q_;
  Best best_;
  int64_t most_ = 0;
  const uint64_t* allow_ = nullptr;
};

// Numbers that are drawn alike everywhere, from a seed and a counter (splitmix64).
inline uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace nearfield
