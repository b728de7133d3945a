#include "queries.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace nearfield {
namespace {

// The largest weight in integers such that no sum of dim products leaves 32 bits.
float weight_limit(const Format& f) {
  int64_t most = 255;
  if (f.layout == kAffine8 && f.element == kInt8) most = 128;
  if (f.layout == kAffine4) {
    most = 1;
    for (int8_t level : f.levels) most = std::max<int64_t>(most, std::abs(int(level)));
  }
  const int64_t room = 2147483647 / (most * std::max<int64_t>(f.dim, 1));
  const int64_t largest = f.layout == kAffine4 ? 32639 : 32767;  // 127 * 256 + 127: two signed bytes
  return float(std::clamp<int64_t>(room, 1, largest));
}

// Sixteen integers to their lower bytes, and to what those leave in upper ones where there is a place for them; the
// sum of the integers.
int32_t split_sixteen(const int16_t* from, int8_t* lower, int8_t* upper) {
  int32_t sum = 0;
  for (int j = 0; j < 16; j++) lower[j] = int8_t(from[j] & 255), sum += from[j];
  if (upper)
    for (int j = 0; j < 16; j++) upper[j] = int8_t((from[j] - int8_t(from[j] & 255)) >> 8);
  return sum;
}

void split_bytes(int64_t m, bool rough, DenseQueries& q) {
  q.byte_stride = (q.stride + 127) / 128 * 128;  // the widest kernel reads so many at a time
  q.lower.assign(size_t(m * q.byte_stride), 0);
  q.upper.assign(rough ? 0 : size_t(m * q.byte_stride), 0);
  q.sums.assign(size_t(m), 0);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < q.stride; j += 16) {
      const size_t at = size_t(i * q.byte_stride + byte_place(j));
      q.sums[size_t(i)] += split_sixteen(&q.shorts[size_t(i * q.stride + j)], &q.lower[at], rough ? nullptr : &q.upper[at]);
    }
}

// The share of a normal distribution above z.
double above(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

// How many standard deviations above the mean the best ten of so many normal values begin.
double best_of(int64_t rows) {
  double z = 0.0;
  for (double step = 4.0; step > 0.05; step /= 2)
    if (above(z + step) * double(rows) > 10.0) z += step;
  return z;
}

// How long a scan takes, in first passes: the first pass itself, its wide columns, and the blocks that are added up
// exactly because one of their rows lies within the slack of the best, were sums normal.
double expected_cost(double wide, double slack, double sigma, double best) {
  const double rows = sigma > 0 ? above(best - slack / sigma) : 1.0;
  return 1.0 + (wide > 0 ? 0.08 + wide : 0.0) + 1.3 * std::min(1.0, kBlock * rows);
}

// Chooses how many lower bits the first pass leaves out, and which columns are too wide for that.
void choose_split(int64_t columns, double best, TableQuery& q) {
  q.shift = 8, q.wide_columns = 0, q.joined = false;
  if (q.even || !columns) return;
  int64_t of_bits[17] = {};  // how many columns have a largest entry of so many bits
  for (int64_t p = 0; p < columns; p++) of_bits[std::bit_width(q.largest[p])]++;
  const double sigma = std::sqrt(std::max(double(q.variance), 0.0));
  double least = INFINITY;
  for (int64_t shift = 8, wide = 0; shift > 0; shift--) {
    wide += of_bits[kCoarseBits + shift + 1];
    if (wide > columns / kWideShare) break;
    const double slack = double(2 * columns) * double((1 << shift) - 1);
    const double cost = expected_cost(double(wide) / double(columns), slack, sigma, best);
    if (cost < least) least = cost, q.shift = int(shift);
  }
  int64_t most = 0;
  for (int64_t p = 0; p < columns; p++) {
    most += 2 * (q.largest[p] >> q.shift);
    if (int(std::bit_width(q.largest[p])) > q.shift + kCoarseBits) q.wide_at[q.wide_columns++] = int32_t(p);
  }
  q.joined = q.wide_columns && columns <= kRun && most < 65536;
}

}  // namespace

DenseQueries dense_queries(const Work& w, int64_t from, int64_t to, bool rough) {
  DenseQueries q;
  dense_queries(w, from, to, rough, q);
  return q;
}

void dense_queries(const Work& w, int64_t from, int64_t to, bool rough, DenseQueries& q) {
  const Format& f = *w.format;
  q.stride = (f.dim + kPad - 1) / kPad * kPad;
  if (f.layout == kF32 || f.layout == kF16) {
    q.floats.assign(size_t((to - from) * q.stride), 0.0f);
    for (int64_t i = from; i < to; i++)
      std::copy_n(w.folded.weights + i * f.dim, f.dim, q.floats.data() + (i - from) * q.stride);
    return;
  }
  rough = rough && f.layout == kAffine4;
  const float limit = rough ? 127.0f : weight_limit(f);
  q.shorts.assign(size_t((to - from) * q.stride), 0);
  q.wscale.resize(size_t(to - from));
  for (int64_t i = from; i < to; i++)
    w.isa->quantise(w.folded.weights + i * f.dim, f.dim, limit, f.layout == kAffine4,
                    q.shorts.data() + (i - from) * q.stride, &q.wscale[size_t(i - from)]);
  if (f.layout == kAffine4) split_bytes(to - from, rough, q);
}

TableQueries table_queries(const Work& w, int64_t from, int64_t to) {
  TableQueries q;
  table_queries(w, from, to, q);
  return q;
}

void table_queries(const Work& w, int64_t from, int64_t to, TableQueries& q) {
  const Format& f = *w.format;
  const size_t m = size_t(to - from), n4 = size_t(f.nibble_columns) * 32, n8 = size_t(f.byte_columns) * 256;
  const size_t wide = size_t(f.nibble_columns / kWideShare) * 32;
  q.entries.resize(m * n4);
  q.coarse.resize(m * n4);
  q.fine.resize(m * n4);
  q.wide.resize(m * wide);
  q.wide_at.resize(m * wide / 32);
  q.bytes.resize(m * n8);
  q.each.resize(m);
  q.lows.resize(size_t(2 * f.nibble_columns + f.byte_columns));
  q.largest.resize(size_t(f.nibble_columns));
  const double best = best_of(w.n);
  for (size_t i = 0; i < m; i++) {
    TableQuery& one = q.each[i];
    one.entries = q.entries.data() + i * n4;
    one.coarse = q.coarse.data() + i * n4;
    one.fine = q.fine.data() + i * n4;
    one.wide = q.wide.data() + i * wide;
    one.wide_at = q.wide_at.data() + i * wide / 32;
    one.bytes = q.bytes.data() + i * n8;
    one.lows = q.lows.data(), one.largest = q.largest.data();
    const size_t at = size_t(from) + i;
    w.isa->quantise_tables(n4 ? w.folded.nibble_tables + at * n4 : nullptr,
                           n8 ? w.folded.byte_tables + at * n8 : nullptr, &f, &one);
    choose_split(f.nibble_columns, best, one);
    w.isa->split_tables(f.nibble_columns, &one);
    one.lows = nullptr, one.largest = nullptr;
  }
}

}  // namespace nearfield
