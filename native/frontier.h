// The best rows that a walk has met, in order, and which of them it has been at.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "topk.h"

namespace nearfield {

// At most `width` rows, best first, ties to the smaller number. A row is one integer that orders like
// (score, -row); its lowest bit says that the walk has been there, which moves it past no other row.
class Frontier {
 public:
  explicit Frontier(int64_t width = 1) { reset(width); }

  // Empty again, for so many rows.
  void reset(int64_t width) {
    width_ = size_t(width), size_ = 0, next_ = 0;
    floor_ = -std::numeric_limits<float>::infinity();
    if (keys_.size() <= width_) keys_.resize(width_ + 1);
  }
  int64_t size() const { return int64_t(size_); }
  int64_t row(int64_t i) const { return row_of(keys_[size_t(i)]); }
  float score(int64_t i) const { return key_score(keys_[size_t(i)]); }
  bool visited(int64_t i) const { return keys_[size_t(i)] & 1; }

  // NaN, a row that is too far, and one that is there already change nothing.
  void insert(float score, int64_t row) {
    if (!(score >= floor_)) return;
    const uint64_t key = key_of(score, row);
    if (size_ == width_ && key <= keys_[size_ - 1]) return;
    const size_t at = place(key);
    if (at > 0 && (keys_[at - 1] | 1) == (key | 1)) return;
    const size_t last = size_ == width_ ? size_ - 1 : size_;
    std::copy_backward(keys_.begin() + long(at), keys_.begin() + long(last), keys_.begin() + long(last) + 1);
    keys_[at] = key;
    size_ = last + 1;
    if (size_ == width_) floor_ = key_score(keys_[size_ - 1]);
    next_ = std::min(next_, at);
  }

  // The best row where the walk has not been, marked as visited; -1 where there is none among the best `most`.
  int64_t visit(int64_t most) {
    while (next_ < size_ && (keys_[next_] & 1)) next_++;
    if (next_ >= std::min(size_, size_t(most))) return -1;
    keys_[next_] |= 1;
    return row_of(keys_[next_++]);
  }

 private:
  static uint64_t key_of(float score, int64_t row) {
    return (rank_key(score, 0) & 0xffffffff00000000ull) | uint64_t(~uint32_t(row) & 0x7fffffffu) << 1;
  }
  static int64_t row_of(uint64_t key) { return int64_t(~uint32_t(key >> 1) & 0x7fffffffu); }

  // How many keys are greater, or the same row visited.
  size_t place(uint64_t key) const {
    size_t low = 0, high = size_;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (keys_[middle] > key)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < size_ && keys_[low] == key) low++;
    return low;
  }

  size_t width_ = 0, size_ = 0, next_ = 0;
  float floor_ = 0;  // what a full frontier admits
  std::vector<uint64_t> keys_;
};

// Which rows a walk has met: a small table that forgets, but never claims what was not. What it forgets is scored again.
class Seen {
 public:
  explicit Seen(int64_t rows = 1) { reset(rows); }

  // Empty again, for walks that meet about so many rows.
  void reset(int64_t rows) {
    const size_t size = std::bit_ceil(size_t(std::clamp<int64_t>(rows, 256, 1 << 20)));
    shift_ = 32 - std::countr_zero(size);
    table_.assign(size, kNobody);
  }
  // Whether the row is new.
  bool add(uint32_t row) {
    uint32_t& slot = table_[size_t(row * 2654435761u >> shift_)];
    const bool fresh = slot != row;
    slot = row;
    return fresh;
  }

 private:
  static constexpr uint32_t kNobody = 0xffffffffu;
  int shift_ = 0;
  std::vector<uint32_t> table_;
};

}  // namespace nearfield
