// Room for one walk after another over a graph: the arrays of a Walk, which the kernels move.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels.h"
#include "on_lines.h"

namespace nearfield {

class Walking {
 public:
  static constexpr int64_t kNever = INT64_MAX;

  // Walks over graphs of n rows meet at most so many rows in one step. Those whose frontier holds `several` rows or
  // more go to several at a time: they read more from memory while they wait for it, and see a little later what is near.
  Walking(const Kernels& isa, const uint32_t* links, int64_t degree, int64_t n, const uint8_t* codes, int64_t row_bytes,
          int64_t most, int64_t several = kNever)
      : isa_(isa), seen_(size_t(n + 63) / 64), touched_(size_t(n <= kFew ? 0 : std::min<int64_t>(n, kTouched))),
        met_(size_t(most)), scores_(size_t(most) + kBlock), several_(several) {
    w_.links = links, w_.degree = degree, w_.n = n, w_.codes = codes, w_.row_bytes = row_bytes;
    const bool whole = (reinterpret_cast<uintptr_t>(codes) | uintptr_t(row_bytes)) % 64 == 0;
    w_.asked = whole ? row_bytes - 64 : row_bytes - 4, w_.last = whole ? row_bytes - 64 : row_bytes - 1;
    w_.seen = seen_.data(), w_.touched = touched_.data(), w_.most_touched = int64_t(touched_.size());
    w_.met = met_.data();
  }

  // Nothing met, nothing in the frontier. The walk ends where it has been at the best `visits` rows and met `enough`;
  // the frontier holds `width`, as many or more.
  void begin(int64_t visits, int64_t width, int64_t enough = 0) {
    forget();
    const size_t size = size_t(width + 2 * kKeyGuard + 1);
    keys_.assign(size, kNoKey);
    std::fill_n(keys_.begin(), kKeyGuard, INT64_MAX);
    w_.keys = keys_.data() + kKeyGuard;
    w_.together = width < several_ ? 1 : width > kWide ? kOfWide : 2;
    enough_ = enough, w_.width = width, w_.visits = visits, w_.size = w_.next = w_.count = 0;
    w_.floor = -std::numeric_limits<float>::infinity();
  }

  // The most rows that are met in one step by walks that go to several at a time.
  static int64_t most_met(int64_t degree, int64_t entries) { return std::max(kOfWide * degree, entries); }

  void meet(const uint32_t* rows, int64_t count) { isa_.walk_meet(&w_, rows, count); }
  // To how many rows it went, and to which; 0 where there is none left.
  int64_t next() {
    for (;;) {
      const int64_t went = isa_.walk_next(&w_);
      if (went || w_.size >= enough_ || w_.visits >= w_.size) return went;
      w_.visits++;
    }
  }
  const int64_t* went() const { return w_.went; }
  // Goes to the best row where it has not been, and meets nobody; -1 where there is none.
  int64_t go() {
    while (w_.next < w_.size && (w_.keys[w_.next] & 1)) w_.next++;
    if (w_.next == w_.size) return -1;
    w_.keys[w_.next++] |= 1;
    return visited();
  }
  // Where it is, right after it went there.
  int64_t visited() const { return row(w_.next - 1); }
  void take() { isa_.walk_take(&w_, scores_.data()); }
  // The same, right after begin, of which only the best `most` stay.
  void take_best(int64_t most) {
    const int64_t width = w_.width;
    w_.width = std::min(width, most);
    take();
    w_.width = width;
    if (w_.size < width) w_.floor = -std::numeric_limits<float>::infinity();
  }

  // The rows just met, and where their scores go; there is room behind the last for kBlock more.
  const uint32_t* met() const { return w_.met; }
  int64_t count() const { return w_.count; }
  float* scores() { return scores_.data(); }

  // The frontier, best first.
  int64_t size() const { return w_.size; }
  int64_t row(int64_t i) const { return int64_t(walk_row(w_.keys[i])); }
  float score(int64_t i) const { return walk_score(w_.keys[i]); }
  bool visited(int64_t i) const { return w_.keys[i] & 1; }

 private:
  static constexpr int64_t kWide = 64, kOfWide = 3;  // wide frontiers go to so many rows at a time, others to two
  static constexpr int64_t kFew = 1 << 17;    // of so many rows, all bits are cleared sooner than some
  static constexpr int64_t kTouched = 16384;  // walks that meet more have all bits cleared

  void forget() {
    if (w_.n_touched == w_.most_touched)
      std::fill(seen_.begin(), seen_.end(), 0);
    else
      for (int64_t i = 0; i < w_.n_touched; i++) seen_[size_t(touched_[size_t(i)] >> 6)] = 0;
    w_.n_touched = 0;
  }

  int64_t enough_ = 0;
  const Kernels& isa_;
  Walk w_ = {};
  LineVector<int64_t> keys_;
  std::vector<uint64_t> seen_;
  std::vector<uint32_t> touched_, met_;
  LineVector<float> scores_;
  int64_t several_;
};

}  // namespace nearfield
