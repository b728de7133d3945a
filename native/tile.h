// A few rows of a float or affine layout, wherever they lie, scored against queries.
#pragma once
#include <algorithm>
#include <vector>

#include "queries.h"

namespace nearfield {

constexpr int64_t kTileBytes = 24 * 1024;  // opened rows that stay in the first-level cache
constexpr int64_t kTogether = 12;          // queries scored against a tile in one call

inline bool is_float(const Format& f) { return f.layout == kF32 || f.layout == kF16; }

inline int source_of(const Format& f) {
  return f.layout == kAffine4 ? kFromNibble : f.element == kInt8 ? kFromInt8 : kFromUint8;
}

inline void prefetch(const void* p) {
#if defined(_MSC_VER)
  (void)p;
#else
  __builtin_prefetch(p);
#endif
}

// A few rows, their constants and terms, opened once and then scored against every query.
class Tile {
 public:
  // `most`: how many rows at a time where so few queries come that rows are not opened.
  Tile(const Work& w, int64_t queries, int64_t most = 1024) : w_(w), f_(*w.format) {
    stride_ = (f_.dim + kPad - 1) / kPad * kPad;
    const int64_t bytes = stride_ * (is_float(f_) ? 4 : 2);
    opened_ = queries >= 3;
    capacity_ = std::clamp<int64_t>(kTileBytes / std::max<int64_t>(bytes, 1), 8, 64) / 8 * 8;
    if (!opened_) capacity_ = most;
    rows_.resize(size_t(capacity_));
    ids_.resize(size_t(capacity_));
    for (auto* v : {&scale_, &shift_, &terms_}) v->resize(size_t(capacity_));
    values_.resize(size_t(capacity_) * kTogether + kBlock);  // select reads whole blocks
    if (opened_ && is_float(f_)) floats_.resize(size_t(capacity_ * stride_));
    if (opened_ && !is_float(f_)) shorts_.resize(size_t(capacity_ * stride_));
    if (!shorts_.empty() && w.isa->to_panels) panels_.resize(shorts_.size());
  }

  int64_t capacity() const { return capacity_; }
  int64_t count() const { return count_; }
  int64_t id(int64_t r) const { return ids_[size_t(r)]; }
  bool full() const { return count_ >= capacity_; }

  void clear() { count_ = 0, read_ = false; }
  void add(int64_t row) { add(row, w_.codes + row * f_.width); }
  // A row whose bytes lie elsewhere.
  void add(int64_t row, const uint8_t* bytes) {
    rows_[size_t(count_)] = bytes;
    ids_[size_t(count_++)] = row;
  }
  // Asks for the bytes of a row that is scored soon.
  void ask(int64_t row) const {
    const uint8_t* at = w_.codes + row * f_.width;
    for (int64_t b = 0; b < f_.width; b += 64) prefetch(at + b);
    prefetch(at + f_.width - 1);
  }

  void open() {
    if (!opened_) return;
    const int64_t n = count();
    read();
    uint8_t* to = is_float(f_) ? (uint8_t*)floats_.data() : (uint8_t*)shorts_.data();
    if (is_float(f_))
      w_.isa->widen(f_.element, rows_.data(), n, f_.dim, floats_.data(), stride_);
    else
      w_.isa->unpack(source_of(f_), f_.levels, rows_.data(), n, f_.dim, shorts_.data(), stride_);
    if (!panels_.empty()) w_.isa->to_panels(shorts_.data(), n, stride_, panels_.data());
    for (int64_t r = 0; r < n; r++) rows_[size_t(r)] = to + r * stride_ * (is_float(f_) ? 4 : 2);
  }

  // Scores of queries [i, i + some) of the group q, some <= kTogether, as rows of capacity() floats.
  float* score(const DenseQueries& q, int64_t i, int64_t some, int64_t first) {
    const int64_t n = count(), dim = opened_ ? stride_ : f_.dim;
    if (is_float(f_))
      w_.isa->dot_float(opened_ ? int(kFloat32) : f_.element, rows_.data(), n, dim,
                        q.floats.data() + i * q.stride, q.stride, some, values_.data(), capacity_);
    else if (!panels_.empty())
      w_.isa->dot_panels(panels_.data(), n, stride_, q.shorts.data() + i * q.stride, q.stride, some, q.wscale.data() + i,
                         values_.data(), capacity_);
    else if (!opened_ && f_.layout == kAffine4)
      for (int64_t s = 0; s < some; s++) {
        const int64_t at = (i + s) * q.byte_stride;
        const int8_t* halves[2] = {q.lower.data() + at, q.upper.empty() ? nullptr : q.upper.data() + at};
        w_.isa->dot_nibbles(f_.levels, rows_.data(), n, dim, q.shorts.data() + (i + s) * q.stride, q.stride, halves,
                            q.sums[size_t(i + s)], q.wscale[size_t(i + s)], values_.data() + s * capacity_);
      }
    else
      w_.isa->dot_int(opened_ ? int(kFromInt16) : source_of(f_), f_.levels, rows_.data(), n, dim,
                      q.shorts.data() + i * q.stride, q.stride, some, q.wscale.data() + i, values_.data(),
                      capacity_);
    if (!read_) read();  // after the products, which have brought the rows into the cache
    const RowTerms terms = {f_.scale.kind ? scale_.data() : nullptr, f_.shift.kind ? shift_.data() : nullptr,
                            w_.terms ? terms_.data() : nullptr, w_.metric};
    for (int64_t s = 0; s < some; s++) {
      const Offsets o = offsets(w_.folded, first + i + s);
      w_.isa->finish(values_.data() + s * capacity_, n, &terms, &o);
    }
    return values_.data();
  }

 private:
  void read() {
    if (f_.scale.kind) w_.isa->constants(&f_.scale, rows_.data(), count_, scale_.data());
    if (f_.shift.kind) w_.isa->constants(&f_.shift, rows_.data(), count_, shift_.data());
    if (w_.terms)
      for (int64_t r = 0; r < count_; r++) terms_[size_t(r)] = w_.terms[ids_[size_t(r)]];
    read_ = true;
  }

  const Work& w_;
  const Format& f_;
  int64_t stride_, capacity_, count_ = 0;
  bool opened_, read_ = false;
  std::vector<const uint8_t*> rows_;
  std::vector<int64_t> ids_;
  std::vector<float> scale_, shift_, terms_, values_, floats_;
  std::vector<int16_t> shorts_, panels_;
};

}  // namespace nearfield
