// Blocks of 32 rows of a table layout: which of their rows may enter the best k, and those offered.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "queries.h"

namespace nearfield {

constexpr int64_t kChunkBytes = 128 * 1024;  // blocks that stay in the second-level cache

inline bool any_negative(const float* block) {
  int any = 0;
  for (int r = 0; r < kBlock; r++) any |= block[r] < 0.0f;
  return any != 0;
}

// Sums below which no score reaches bound, where a score is (sum * step + bias + inside) / inverse + outside. Computed in
// double with room for every rounding of the float steps, so they may only let too many rows through.
inline void least_sums(const TableQuery& q, const Offsets& o, const double* inverse, int count, double bound, uint32_t* out) {
  const double step = q.step, bias = q.bias, inside = o.inside, outside = o.outside, room = 1e-6;
  const double slope = (bound - outside - room * (std::abs(outside) + std::abs(bound))) / step;
  const double start = (inside + bias + room * (std::abs(inside) + std::abs(bias))) / step;
  for (int i = 0; i < count; i++) {
    const double least = slope * inverse[i] - start;
    const double sum = least - room * std::abs(least) - 1.0 - double(q.slack);
    out[i] = !(step > 0.0) || !(sum > 0.0) ? 0u : sum >= 2147483647.0 ? 0x7fffffffu : uint32_t(sum);
  }
}

// What the rows of some blocks bring to their scores, read once for all queries. Where that is nothing, or a positive
// factor in a byte, a bound on the sums alone lets few blocks through, and only the factors of those are read.
class BlockTerms {
 public:
  BlockTerms(const Work& w, int64_t blocks) : w_(w), have_(size_t(blocks)), factor_(size_t(blocks)), least_(size_t(blocks)) {
    for (auto* v : {&scale_, &shift_, &terms_}) v->resize(size_t(blocks * kBlock), 0.0f);
    const Format& f = *w.format;
    const bool summed = !f.shift.kind && (w.metric == kDot || (w.metric == kCosine && !w.terms));
    by_sum_ = summed && (!f.scale.kind || (f.scale.kind == kByte && f.scale.low > 0.0f && f.scale.step >= 0.0f));
    for (int i = 0; i < kFactors; i++)
      inverse_[i] = f.scale.kind ? 1.0 / (double(f.scale.low) + double(f.scale.step) * (kRange * i + kRange - 1)) : 1.0;
    most_ = f.scale.kind ? 1.0 / double(f.scale.low) : 1.0;
  }

  void start(int64_t first, int64_t count) {
    first_ = first, signs_ = false;
    std::fill(have_.begin(), have_.end(), uint8_t(0));
    if (!by_sum_)
      for (int64_t b = 0; b < count; b++) read(b);
    else if (w_.format->scale.kind)
      for (int64_t b = 0; b < count; b++) factor_[size_t(b)] = largest_factor(b);
  }

  // The rows of each block that may reach bound: more of them where factors are read late.
  void masks(const TableQuery& q, const Offsets& o, const uint32_t* sums, int64_t count, float bound, uint32_t* masks) {
    const RowTerms all = at(0);
    if (!by_sum_) return w_.isa->table_masks(sums, count, &q, &all, &o, bound, signs_, masks);
    uint32_t least[kFactors];
    // The largest factor lets a positive value reach a score, the least of all a negative one.
    if (bound > o.outside)
      least_sums(q, o, inverse_, kFactors, bound, least);
    else
      least_sums(q, o, &most_, 1, bound, least), std::fill(least + 1, least + kFactors, least[0]);
    for (int64_t b = 0; b < count; b++) least_[size_t(b)] = least[factor_[size_t(b)]];
    w_.isa->sum_masks(sums, count, least_.data(), masks);
  }

  // Of the rows of block b that may reach `before`, those that may reach bound, all that they bring considered.
  uint32_t mask(const TableQuery& q, const Offsets& o, const uint32_t* sums, int64_t b, float before, float bound) {
    if (!by_sum_ && bound == before) return ~0u;
    if (!have_[size_t(b)]) read(b);
    const RowTerms rows = at(b * kBlock);
    uint32_t mask;
    w_.isa->table_masks(sums, 1, &q, &rows, &o, bound, signs_, &mask);
    return mask;
  }

  RowTerms at(int64_t row) const {
    return {w_.format->scale.kind ? &scale_[size_t(row)] : nullptr,
            w_.format->shift.kind ? &shift_[size_t(row)] : nullptr, w_.terms ? &terms_[size_t(row)] : nullptr,
            w_.metric};
  }

 private:
  static constexpr int kFactors = 16, kRange = 256 / kFactors;  // ranges of a block's largest factor that are told apart

  const uint8_t* block(int64_t b) const { return w_.codes + (first_ + b) * w_.format->width * kBlock; }

  uint8_t largest_factor(int64_t b) const {
    const uint8_t* bytes = block(b) + w_.format->scale.offset * kBlock;
    uint8_t most = 0;
    for (int r = 0; r < kBlock; r++) most = std::max(most, bytes[r]);
    return uint8_t(most / kRange);
  }

  void read(int64_t b) {
    const Format& f = *w_.format;
    float *scale = &scale_[size_t(b * kBlock)], *terms = &terms_[size_t(b * kBlock)];
    if (f.scale.kind) w_.isa->block_constants(&f.scale, block(b), scale);
    if (f.shift.kind) w_.isa->block_constants(&f.shift, block(b), &shift_[size_t(b * kBlock)]);
    if (w_.terms) {
      const int64_t row = (first_ + b) * kBlock;
      std::copy_n(w_.terms + row, std::min<int64_t>(kBlock, w_.n - row), terms);
    }
    if (!by_sum_) signs_ |= (f.scale.kind && any_negative(scale)) || (w_.metric == kCosine && w_.terms && any_negative(terms));
    have_[size_t(b)] = 1;
  }

  const Work& w_;
  int64_t first_ = 0;
  bool by_sum_, signs_ = false;
  double inverse_[kFactors], most_;  // one by the largest factor of each range, and by the least of all
  std::vector<uint8_t> have_, factor_;
  std::vector<uint32_t> least_;
  std::vector<float> scale_, shift_, terms_;
};

// The rows of one block that may enter the best k, added up exactly and offered.
template <class Top>
void offer(const Work& w, const TableQuery& q, const Offsets& o, uint32_t* sums, uint32_t mask, int64_t block,
           const RowTerms& rows, Top& top) {
  const uint8_t* codes = w.codes + block * w.format->width * kBlock;
  float scores[kBlock];
  if (q.slack) w.isa->table_exact(w.format, codes, &q, sums);
  w.isa->table_scores(sums, kBlock, &q, &rows, &o, scores);
  for (; mask; mask &= mask - 1) {
    const int r = std::countr_zero(mask);
    if (scores[r] >= top.bound()) top.push(scores[r], block * kBlock + r);
  }
}

// One query against the sums of some blocks, whose rows are admitted by admit(block). A first mask uses the bound as it
// stood before them, and may leave out what rows bring; blocks that pass are looked at again with everything and the
// bound as it stands.
template <class Admit, class Top>
void offer_blocks(const Work& w, const TableQuery& q, const Offsets& o, uint32_t* sums, int64_t first, int64_t count,
                  BlockTerms& terms, uint32_t* masks, const Admit& admit, Top& top) {
  const float before = top.bound();
  terms.masks(q, o, sums, count, before, masks);
  for (int64_t b = 0; b < count; b++, sums += kBlock) {
    uint32_t mask = masks[b] ? masks[b] & admit(first + b) : 0;
    if (mask) mask &= terms.mask(q, o, sums, b, before, top.bound());
    if (mask) offer(w, q, o, sums, mask, first + b, terms.at(b * kBlock), top);
  }
}

}  // namespace nearfield
