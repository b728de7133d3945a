#include "scan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "pool.h"
#include "queries.h"
#include "tile.h"
#include "topk.h"

namespace nearfield {
namespace {

constexpr int64_t kChunkBytes = 128 * 1024;  // blocks that stay in the second-level cache
constexpr int64_t kFirst = 4;                // blocks of the first chunk
constexpr int64_t kKeepBytes = 64 << 20;     // candidates kept for all queries of a group and all threads

bool allowed(const uint64_t* allow, int64_t row) { return !allow || (allow[row >> 6] >> (row & 63) & 1); }

void scan_dense(const Work& w, const DenseQueries& q, int64_t first, int64_t m, int64_t from, int64_t to,
                TopK* best) {
  Tile tile(w, m);
  std::vector<int32_t> where(size_t(tile.capacity()));
  for (int64_t row = from; row < to;) {
    tile.clear();
    for (; row < to && !tile.full(); row++)
      if (allowed(w.allow, row)) tile.add(row);
    if (tile.count() == 0) break;
    tile.open();
    for (int64_t i = 0; i < m; i += kTogether) {
      const int64_t some = std::min<int64_t>(kTogether, m - i);
      const float* scores = tile.score(q, i, some, first);
      for (int64_t s = 0; s < some; s++, scores += tile.capacity()) {
        TopK& top = best[i + s];
        const int64_t found = w.isa->select(scores, tile.count(), top.bound(), where.data());
        for (int64_t c = 0; c < found; c++) top.push(scores[where[size_t(c)]], tile.id(where[size_t(c)]));
      }
    }
  }
}

bool any_negative(const float* block) {
  int any = 0;
  for (int r = 0; r < kBlock; r++) any |= block[r] < 0.0f;
  return any != 0;
}

// Sums below which no score reaches bound, where a score is (sum * step + bias + inside) / inverse + outside. Computed in
// double with room for every rounding of the float steps, so they may only let too many rows through.
void least_sums(const TableQuery& q, const Offsets& o, const double* inverse, int count, double bound, uint32_t* out) {
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

uint32_t allowed_block(const Work& w, int64_t block) {
  const int64_t left = w.n - block * kBlock;
  const uint32_t inside = left >= kBlock ? ~0u : (1u << left) - 1;
  return w.allow ? inside & uint32_t(w.allow[block >> 1] >> (32 * (block & 1))) : inside;
}

// The rows of one block that may enter the best k, added up exactly and offered.
void offer(const Work& w, const TableQuery& q, const Offsets& o, uint32_t* sums, uint32_t mask, int64_t block,
           const RowTerms& rows, TopK& top) {
  const uint8_t* codes = w.codes + block * w.format->width * kBlock;
  float scores[kBlock];
  if (q.slack) w.isa->table_exact(w.format, codes, &q, sums);
  w.isa->table_scores(sums, kBlock, &q, &rows, &o, scores);
  for (; mask; mask &= mask - 1) {
    const int r = std::countr_zero(mask);
    if (scores[r] >= top.bound()) top.push(scores[r], block * kBlock + r);
  }
}

// One query against the sums of some blocks. A first mask uses the bound as it stood before them, and may leave out
// what rows bring; blocks that pass are looked at again with everything and the bound as it stands.
void offer_blocks(const Work& w, const TableQuery& q, const Offsets& o, uint32_t* sums, int64_t first,
                  int64_t count, BlockTerms& terms, uint32_t* masks, TopK& top) {
  const float before = top.bound();
  terms.masks(q, o, sums, count, before, masks);
  for (int64_t b = 0; b < count; b++, sums += kBlock) {
    uint32_t mask = masks[b] ? masks[b] & allowed_block(w, first + b) : 0;
    if (mask) mask &= terms.mask(q, o, sums, b, before, top.bound());
    if (mask) offer(w, q, o, sums, mask, first + b, terms.at(b * kBlock), top);
  }
}

void scan_tables(const Work& w, const TableQueries& q, int64_t first, int64_t m, int64_t from, int64_t to,
                 TopK* best) {
  const int64_t step = std::clamp<int64_t>(kChunkBytes / (w.format->width * kBlock), 1, 64);
  std::vector<uint32_t> sums[2] = {std::vector<uint32_t>(size_t(step * kBlock)),
                                   std::vector<uint32_t>(size_t(step * kBlock))};
  uint32_t* const outs[2] = {sums[0].data(), sums[1].data()};
  std::vector<uint32_t> masks(static_cast<size_t>(step));
  BlockTerms terms(w, step);
  // The first chunks are short: until k rows are known, every row passes.
  for (int64_t block = from, count = std::min(kFirst, step); block < to; block += count, count = std::min(2 * count, step)) {
    count = std::min(count, to - block);
    bool any = false;
    for (int64_t b = 0; b < count && !any; b++) any = allowed_block(w, block + b) != 0;
    if (!any) continue;
    for (int64_t i = 0; i < m; i += 2) {
      const int64_t some = std::min<int64_t>(2, m - i);
      const TableQuery* pair[2] = {&q.each[size_t(i)], &q.each[size_t(std::min(i + 1, m - 1))]};
      w.isa->table_sums(w.format, w.codes + block * w.format->width * kBlock, count, pair, some, outs);
      if (i == 0) terms.start(block, count);  // after the sums, which have brought the blocks into the cache
      for (int64_t s = 0; s < some; s++) {
        const Offsets o = offsets(w.folded, first + i + s);
        offer_blocks(w, *pair[s], o, outs[s], block, count, terms, masks.data(), best[i + s]);
      }
    }
  }
}

// One group of queries: threads take ranges of rows, or of queries where rows are few.
void scan_group(const Work& w, int64_t first, int64_t m, int64_t k, int64_t* ids, float* scores) {
  const bool tables = w.format->layout == kTables;
  DenseQueries dense;
  TableQueries table;
  if (tables)
    table = table_queries(w, first, first + m);
  else
    dense = dense_queries(w, first, first + m);
  const int jobs = w.threads;
  const std::vector<TopK> none{size_t(m), TopK(k)};
  std::vector<std::vector<TopK>> best{size_t(jobs), none};
  parallel(jobs, [&](int j) {
    const int64_t from = part_begin(w.n, 64, j, jobs), to = part_begin(w.n, 64, j + 1, jobs);
    if (from >= to) return;
    if (tables)
      scan_tables(w, table, first, m, from / kBlock, (to + kBlock - 1) / kBlock, best[size_t(j)].data());
    else
      scan_dense(w, dense, first, m, from, to, best[size_t(j)].data());
  });
  for (int64_t i = 0; i < m; i++) {
    for (int j = 1; j < jobs; j++) best[0][size_t(i)].absorb(best[size_t(j)][size_t(i)]);
    best[0][size_t(i)].write(ids + i * k, scores + i * k);
  }
}

void score_dense(const Work& w, const int64_t* rows, int64_t from, int64_t to, int64_t count, float* scores,
                 const DenseQueries& q) {
  const int64_t m = w.folded.queries;
  Tile tile(w, m);
  for (int64_t at = from; at < to; at += tile.capacity()) {
    tile.clear();
    for (int64_t r = at; r < to && !tile.full(); r++) tile.add(rows ? rows[r] : r);
    tile.open();
    for (int64_t i = 0; i < m; i += kTogether) {
      const int64_t some = std::min<int64_t>(kTogether, m - i);
      const float* got = tile.score(q, i, some, 0);
      for (int64_t s = 0; s < some; s++)
        std::copy_n(got + s * tile.capacity(), tile.count(), scores + (i + s) * count + at);
    }
  }
}

void score_tables(const Work& w, const int64_t* rows, int64_t from, int64_t to, int64_t count, float* scores,
                  const TableQueries& q) {
  const Format& f = *w.format;
  for (int64_t at = from; at < to; at++) {
    const int64_t row = rows ? rows[at] : at;
    const uint8_t* codes = w.codes + row * f.width;
    float scale, shift;
    if (f.scale.kind) w.isa->constants(&f.scale, &codes, 1, &scale);
    if (f.shift.kind) w.isa->constants(&f.shift, &codes, 1, &shift);
    const RowTerms terms = {f.scale.kind ? &scale : nullptr, f.shift.kind ? &shift : nullptr,
                            w.terms ? w.terms + row : nullptr, w.metric};
    for (int64_t i = 0; i < w.folded.queries; i++) {
      const TableQuery& one = q.each[size_t(i)];
      const uint32_t acc = w.isa->table_row(&f, codes, &one);
      const Offsets o = offsets(w.folded, i);
      w.isa->table_scores(&acc, 1, &one, &terms, &o, scores + i * count + at);
    }
  }
}

}  // namespace

void scan(const Work& w, int64_t k, int64_t* ids, float* scores) {
  const int64_t kept = 2 * std::min(k, std::max<int64_t>(w.n, 1)) * 8 * w.threads;
  const int64_t group = std::clamp<int64_t>(kKeepBytes / std::max<int64_t>(kept, 1), 4, 512);
  for (int64_t i = 0; i < w.folded.queries; i += group)
    scan_group(w, i, std::min(group, w.folded.queries - i), k, ids + i * k, scores + i * k);
}

void score_rows(const Work& w, const int64_t* rows, int64_t count, float* scores) {
  const bool tables = w.format->layout == kTables;
  DenseQueries dense;
  TableQueries table;
  if (tables)
    table = table_queries(w, 0, w.folded.queries);
  else
    dense = dense_queries(w, 0, w.folded.queries);
  parallel(w.threads, [&](int j) {
    const int64_t from = part_begin(count, 64, j, w.threads), to = part_begin(count, 64, j + 1, w.threads);
    if (from >= to) return;
    if (tables)
      score_tables(w, rows, from, to, count, scores, table);
    else
      score_dense(w, rows, from, to, count, scores, dense);
  });
}

void topk(const float* scores, int64_t m, int64_t n, int64_t k, int threads, int64_t* ids, float* best) {
  parallel(threads, [&](int j) {
    const int64_t to = part_begin(m, 1, j + 1, threads);
    for (int64_t i = part_begin(m, 1, j, threads); i < to; i++) {
      TopK top(k);
      for (int64_t r = 0; r < n; r++)
        if (scores[i * n + r] >= top.bound()) top.push(scores[i * n + r], r);
      top.write(ids + i * k, best + i * k);
    }
  });
}

}  // namespace nearfield
