#include "scan.h"

#include <algorithm>
#include <vector>

#include "blocks.h"
#include "pool.h"
#include "tile.h"
#include "topk.h"

namespace nearfield {
namespace {

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

uint32_t allowed_block(const Work& w, int64_t block) {
  const int64_t left = w.n - block * kBlock;
  const uint32_t inside = left >= kBlock ? ~0u : (1u << left) - 1;
  return w.allow ? inside & uint32_t(w.allow[block >> 1] >> (32 * (block & 1))) : inside;
}

void scan_tables(const Work& w, const TableQueries& q, int64_t first, int64_t m, int64_t from, int64_t to,
                 TopK* best) {
  const int64_t step = std::clamp<int64_t>(kChunkBytes / (w.format->width * kBlock), 1, 64);
  std::vector<uint32_t> sums[2] = {std::vector<uint32_t>(size_t(step * kBlock)),
                                   std::vector<uint32_t>(size_t(step * kBlock))};
  uint32_t* const outs[2] = {sums[0].data(), sums[1].data()};
  std::vector<uint32_t> masks(static_cast<size_t>(step));
  BlockTerms terms(w, step);
  const auto admit = [&w](int64_t block) { return allowed_block(w, block); };
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
        offer_blocks(w, *pair[s], o, outs[s], block, count, terms, masks.data(), admit, best[i + s]);
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
