#include "queries.h"

#include <algorithm>
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

void split_bytes(int64_t m, DenseQueries& q) {
  q.byte_stride = (q.stride + 63) / 64 * 64;
  q.lower.assign(size_t(m * q.byte_stride), 0);
  q.upper.assign(size_t(m * q.byte_stride), 0);
  q.sums.assign(size_t(m), 0);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < q.stride; j++) {
      const int16_t v = q.shorts[size_t(i * q.stride + j)];
      const size_t at = size_t(i * q.byte_stride + byte_place(j));
      q.lower[at] = int8_t(v & 255), q.upper[at] = int8_t((v - int8_t(v & 255)) >> 8);
      q.sums[size_t(i)] += v;
    }
}

}  // namespace

DenseQueries dense_queries(const Work& w, int64_t from, int64_t to) {
  const Format& f = *w.format;
  DenseQueries q;
  q.stride = (f.dim + kPad - 1) / kPad * kPad;
  if (f.layout == kF32 || f.layout == kF16) {
    q.floats.assign(size_t((to - from) * q.stride), 0.0f);
    for (int64_t i = from; i < to; i++)
      std::copy_n(w.folded.weights + i * f.dim, f.dim, q.floats.data() + (i - from) * q.stride);
    return q;
  }
  const float limit = weight_limit(f);
  q.shorts.assign(size_t((to - from) * q.stride), 0);
  q.wscale.resize(size_t(to - from));
  for (int64_t i = from; i < to; i++)
    w.isa->quantise(w.folded.weights + i * f.dim, f.dim, limit, f.layout == kAffine4,
                    q.shorts.data() + (i - from) * q.stride, &q.wscale[size_t(i - from)]);
  if (f.layout == kAffine4) split_bytes(to - from, q);
  return q;
}

TableQueries table_queries(const Work& w, int64_t from, int64_t to) {
  const Format& f = *w.format;
  const size_t m = size_t(to - from), n4 = size_t(f.nibble_columns) * 32, n8 = size_t(f.byte_columns) * 256;
  TableQueries q;
  const size_t wide = size_t(f.nibble_columns / kWideShare) * 32;
  q.entries.resize(m * n4);
  q.coarse.resize(m * n4);
  q.fine.resize(m * n4);
  q.wide.resize(m * 2 * wide);
  q.bytes.resize(m * n8);
  q.each.resize(m);
  for (size_t i = 0; i < m; i++) {
    TableQuery& one = q.each[i];
    one.entries = q.entries.data() + i * n4;
    one.coarse = q.coarse.data() + i * n4;
    one.fine = q.fine.data() + i * n4;
    for (size_t half = 0; half < 2; half++) one.wide[half] = q.wide.data() + (2 * i + half) * wide;
    one.bytes = q.bytes.data() + i * n8;
    const size_t at = size_t(from) + i;
    w.isa->quantise_tables(n4 ? w.folded.nibble_tables + at * n4 : nullptr,
                           n8 ? w.folded.byte_tables + at * n8 : nullptr, &f, &one);
  }
  return q;
}

}  // namespace nearfield
