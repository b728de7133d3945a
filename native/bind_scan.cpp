#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind_work.h"

namespace nearfield {
namespace {

constexpr int64_t kMostDim = 1 << 20;


int64_t bytes_of(int kind) { return kind == kByte ? 1 : kind == kHalf ? 2 : kind == kSingle ? 4 : 0; }

int64_t code_bytes(const Format& f) {
  switch (f.layout) {
    case kF32: return 4 * f.dim;
    case kF16: return f.element == kE4M3 || f.element == kE5M2 ? f.dim : 2 * f.dim;
    case kAffine8: return f.dim;
    case kAffine4: return (f.dim + 1) / 2;
    default: return f.nibble_columns + f.byte_columns;
  }
}

bool element_fits(const Format& f) {
  if (f.layout == kF32) return f.element == kFloat32;
  if (f.layout == kF16) return f.element >= kFloat16 && f.element <= kE5M2;
  if (f.layout == kAffine8) return f.element == kUint8 || f.element == kInt8;
  return true;
}

Constant constant(nb::tuple t, int64_t width) {
  const Constant c = {nb::cast<int>(t[0]), nb::cast<int64_t>(t[1]), nb::cast<float>(t[2]), nb::cast<float>(t[3])};
  expect(c.kind >= kAbsent && c.kind <= kSingle, "constant: unknown kind");
  expect(c.offset >= 0 && c.offset <= width - bytes_of(c.kind), "constant: leaves the row");
  return c;
}

Format format(int layout, int element, int64_t width, int64_t dim, int64_t nibble_columns, int64_t byte_columns,
              const std::vector<int>& levels, nb::tuple scale, nb::tuple shift) {
  Format f = {};
  f.layout = layout, f.element = element, f.width = width, f.dim = dim;
  f.nibble_columns = nibble_columns, f.byte_columns = byte_columns;
  expect(layout >= kF32 && layout <= kTables, "format: unknown layout");
  expect(width >= 1 && width <= kMostDim * 4 && dim >= 0 && dim <= kMostDim, "format: width or dim out of range");
  expect(nibble_columns >= 0 && byte_columns >= 0 && 2 * nibble_columns + byte_columns <= 32767,
         "format: at most 32767 tables");
  expect(element_fits(f), "format: this layout does not hold this element");
  expect(levels.size() == 16, "format: 16 levels");
  for (int i = 0; i < 16; i++) {
    expect(levels[size_t(i)] >= -128 && levels[size_t(i)] <= 127, "format: levels are signed bytes");
    f.levels[i] = int8_t(levels[size_t(i)]);
  }
  expect(code_bytes(f) <= width, "format: the codes do not fit in the row");
  f.scale = constant(scale, width);
  f.shift = constant(shift, width);
  return f;
}

auto scan_bound(int isa, const Format& f, In<uint8_t, 1> codes, int64_t n, int64_t m,
                nb::tuple q, int metric,
                Vector terms, std::optional<In<uint64_t, 1>> allow, int64_t k, int threads) {
  expect(m >= 0 && k >= 1, "scan: k is at least 1");
  Work w = work(isa, f, codes.data(), n, folded(f, m, q),
                metric, terms, threads);
  const int64_t stored = f.layout == kTables ? (n + kBlock - 1) / kBlock * kBlock : n;
  expect(int64_t(codes.shape(0)) == stored * f.width, "codes: the bytes do not match n and width");
  expect(!allow || int64_t(allow->shape(0)) * 64 >= n, "allow: expected a bit for each row");
  w.allow = allow ? allow->data() : nullptr;
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* scores = fresh<float>(size_t(m * k));
  auto scores_out = owned(scores, size_t(m), size_t(k));
  {
    Unlocked release;
    scan(w, k, ids, scores);
  }
  return std::make_pair(std::move(ids_out), std::move(scores_out));
}

auto score_bound(int isa, const Format& f, In<uint8_t, 1> codes, int64_t n, int64_t m,
                 nb::tuple q, int metric, Vector terms, std::optional<In<int64_t, 1>> rows, int threads) {
  const Work w = work(isa, f, codes.data(), n,
                      folded(f, m, q), metric, terms,
                      threads);
  expect(int64_t(codes.shape(0)) == n * f.width, "codes: the bytes do not match n and width");
  const int64_t count = rows ? int64_t(rows->shape(0)) : n;
  for (int64_t i = 0; rows && i < count; i++)
    expect(rows->data()[i] >= 0 && rows->data()[i] < n, "rows: a row number is out of range");
  float* scores = fresh<float>(size_t(m * count));
  auto out = owned(scores, size_t(m), size_t(count));
  {
    Unlocked release;
    score_rows(w, rows ? rows->data() : nullptr, count, scores);
  }
  return out;
}

auto topk_bound(In<float, 2> scores, int64_t k, int threads) {
  const int64_t m = int64_t(scores.shape(0)), n = int64_t(scores.shape(1));
  expect(k >= 1 && n <= kMostRows, "topk: k is at least 1");
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* best = fresh<float>(size_t(m * k));
  auto best_out = owned(best, size_t(m), size_t(k));
  {
    Unlocked release;
    topk(scores.data(), m, n, k, std::clamp(threads, 1, 1024), ids, best);
  }
  return std::make_pair(std::move(ids_out), std::move(best_out));
}

}  // namespace

void bind_scan(nb::module_& m) {
  nb::class_<Format>(m, "Format").def("__init__", [](Format* self, int layout, int element, int64_t width,
                                                     int64_t dim, int64_t nibble_columns, int64_t byte_columns,
                                                     std::vector<int> levels, nb::tuple scale, nb::tuple shift) {
    new (self) Format(format(layout, element, width, dim, nibble_columns, byte_columns, levels, scale, shift));
  });
  using namespace nb::literals;
  m.def("scan", scan_bound, "isa"_a, "format"_a, "codes"_a, "n"_a, "m"_a, "coefficients"_a, "metric"_a, "terms"_a.none(), "allow"_a.none(), "k"_a, "threads"_a);
  m.def("score_rows", score_bound, "isa"_a, "format"_a, "codes"_a, "n"_a, "m"_a, "coefficients"_a, "metric"_a, "terms"_a.none(), "rows"_a.none(), "threads"_a);
  m.def("topk", topk_bound, "scores"_a, "k"_a, "threads"_a);
}

}  // namespace nearfield
