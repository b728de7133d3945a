// The best k of rows that are found in an order of their own.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "topk.h"

namespace nearfield {

// Scores and places of rows. Equal scores are broken by the smaller row number, which `rows` says of each place; null:
// the place itself. Nothing is allocated for a query that wants no more than one before.
class Best {
 public:
  void reset(int64_t k, const uint32_t* rows) {
    k_ = size_t(k), size_ = 0, rows_ = rows;
    room_ = 2 * k_ + 16;
    bound_ = -std::numeric_limits<float>::infinity();
    if (keys_.size() < room_) keys_.resize(room_);
  }

  // Only scores >= bound() can enter; NaN never does.
  float bound() const { return bound_; }

  void push(float score, int64_t place) {
    if (!(score >= bound_)) return;
    keys_[size_++] = (rank_key(score, 0) & 0xffffffff00000000ull) | uint64_t(uint32_t(place));
    if (size_ == room_) shrink();
  }

  // Leaves no more than k, best first where that is wanted.
  void finish(bool sorted) {
    if (size_ > k_) shrink();
    if (sorted) std::sort(begin(), end(), [this](uint64_t a, uint64_t b) { return before(a, b); });
  }

  // The same into so many places; -1 and -inf where there are fewer.
  void write(bool sorted, int64_t places, int64_t* ids, float* scores) {
    finish(sorted);
    for (int64_t r = 0; r < places; r++) {
      ids[r] = r < size() ? place(r) : -1;
      scores[r] = r < size() ? score(r) : -std::numeric_limits<float>::infinity();
    }
  }

  int64_t size() const { return int64_t(size_); }
  int64_t place(int64_t i) const { return int64_t(uint32_t(keys_[size_t(i)])); }
  float score(int64_t i) const { return key_score(keys_[size_t(i)]); }

 private:
  using Iterator = std::vector<uint64_t>::iterator;
  Iterator begin() { return keys_.begin(); }
  Iterator end() { return keys_.begin() + std::ptrdiff_t(size_); }

  bool before(uint64_t a, uint64_t b) const {
    if ((a ^ b) >> 32) return a > b;
    const uint32_t x = uint32_t(a), y = uint32_t(b);
    return rows_ ? rows_[x] < rows_[y] : x < y;
  }

  void shrink() {
    std::nth_element(begin(), begin() + std::ptrdiff_t(k_ - 1), end(),
                     [this](uint64_t a, uint64_t b) { return before(a, b); });
    size_ = k_;
    bound_ = key_score(keys_[k_ - 1]);
  }

  size_t k_ = 1, size_ = 0, room_ = 0;
  const uint32_t* rows_ = nullptr;
  float bound_ = 0;
  std::vector<uint64_t> keys_;
};

}  // namespace nearfield
