#include <nanobind/stl/pair.h>

#include <algorithm>

#include "bind.h"
#include "coding.h"

namespace nearfield {
namespace {

int bounded(int threads) { return std::clamp(threads, 1, 1024); }

auto group_sums_bound(int isa, In<float, 2> x, In<int32_t, 1> labels, int64_t k, int threads) {
  const size_t n = x.shape(0), d = x.shape(1);
  const Kernels& kernels = isa_at(isa);
  expect(labels.shape(0) == n && k >= 0, "group_sums: labels do not match the rows");
  expect(std::all_of(labels.data(), labels.data() + n, [&](int32_t l) { return l >= 0 && l < k; }),
         "group_sums: a label is none of the groups");
  double* sums = fresh<double>(size_t(k) * d);
  auto out = owned(sums, size_t(k), d);
  Unlocked release;
  group_sums(kernels, x.data(), int64_t(n), int64_t(d), labels.data(), k, bounded(threads), sums);
  return out;
}

auto spans_bound(int isa, In<float, 2> x, In<float, 1> mean, int threads) {
  const size_t n = x.shape(0), d = x.shape(1);
  const Kernels& kernels = isa_at(isa);
  expect(mean.shape(0) == d && d >= 1, "spans: the mean does not match the rows");
  double *low = fresh<double>(n), *high = fresh<double>(n);
  auto out = std::make_pair(owned(low, n), owned(high, n));
  Unlocked release;
  spans(kernels, x.data(), int64_t(n), int64_t(d), mean.data(), bounded(threads), low, high);
  return out;
}

template <class Number>
auto even_steps_of(const Kernels& kernels, In<float, 2> x, In<float, 1> mean, In<double, 2> firsts, In<double, 2> lasts,
                   int bits, int cell_bits, int threads) {
  const size_t n = x.shape(0), d = x.shape(1);
  Number* numbers = fresh<Number>(n * d);
  double* sums = fresh<double>(3 * n);
  auto out = std::make_pair(owned(numbers, n, d), owned(sums, n, 3));
  Unlocked release;
  even_steps(kernels, x.data(), int64_t(n), int64_t(d), mean.data(), firsts.data(), lasts.data(), bits, cell_bits,
             bounded(threads), numbers, sums);
  return out;
}

nb::object even_steps_bound(int isa, In<float, 2> x, In<float, 1> mean, In<double, 2> firsts, In<double, 2> lasts, int bits,
                            int cell_bits, int threads) {
  const size_t n = x.shape(0);
  const Kernels& kernels = isa_at(isa);
  expect(mean.shape(0) == x.shape(1), "even_steps: the mean does not match the rows");
  for (const auto& given : {firsts, lasts})
    expect(given.shape(0) == n && given.shape(1) == 2, "even_steps: expected a least value and a step for each row");
  expect(bits >= 1 && cell_bits >= 0 && bits <= 8 && bits + cell_bits <= 16, "even_steps: at most 8 bits, 16 with cells");
  if (bits + cell_bits > 8)
    return nb::cast(even_steps_of<uint16_t>(kernels, x, mean, firsts, lasts, bits, cell_bits, threads));
  return nb::cast(even_steps_of<uint8_t>(kernels, x, mean, firsts, lasts, bits, cell_bits, threads));
}

// Pieces [p][5] in the order of their columns, within width bytes, columns and levels.
const LevelPiece* pieces_of(In<int32_t, 2> pieces, int64_t columns, int64_t width, int64_t levels) {
  static_assert(sizeof(LevelPiece) == 5 * sizeof(int32_t));
  expect(pieces.shape(1) == 5, "pieces: expected five numbers for each");
  const LevelPiece* all = reinterpret_cast<const LevelPiece*>(pieces.data());
  for (size_t p = 0; p < pieces.shape(0); p++) {
    const LevelPiece& one = all[p];
    expect(one.column >= (p ? all[p - 1].column : 0) && one.column < columns, "pieces: columns should ascend");
    expect(one.byte >= 0 && one.byte < width && one.shift >= 0 && one.bits >= 1 && one.shift + one.bits <= 8,
           "pieces: a piece lies outside its byte");
    expect(one.first >= 0 && one.bits <= 4 && one.first + (1 << one.bits) <= levels, "pieces: levels are missing");
  }
  return all;
}

auto level_codes_bound(int isa, In<float, 2> columns, In<float, 1> sums, In<uint16_t, 1> codes, In<int64_t, 1> starts,
                       In<int32_t, 2> pieces, In<double, 1> inside, int64_t width, int threads) {
  const int64_t count = int64_t(columns.shape(0)), n = int64_t(columns.shape(1));
  const Kernels& kernels = isa_at(isa);
  expect(int64_t(starts.shape(0)) == count + 1 && starts.data()[0] == 0 &&
             starts.data()[count] == int64_t(sums.shape(0)) && codes.shape(0) == sums.shape(0),
         "level_codes: sums do not match the columns");
  for (int64_t j = 0; j < count; j++)
    expect(starts.data()[j] < starts.data()[j + 1], "level_codes: a column has no levels");
  expect(int64_t(inside.shape(0)) == count && width >= 1, "level_codes: expected a value inside for each column");
  LevelGrids grids = {};
  grids.pieces = pieces_of(pieces, count, width, INT32_MAX);
  grids.sums = sums.data(), grids.codes = codes.data(), grids.starts = starts.data(), grids.inside = inside.data();
  grids.columns = count, grids.n_pieces = int64_t(pieces.shape(0)), grids.width = width;
  uint8_t* made = fresh<uint8_t>(size_t(n * width));
  double* measures = fresh<double>(size_t(2 * n));
  auto out = std::make_pair(owned(made, size_t(n), size_t(width)), owned(measures, 2, size_t(n)));
  Unlocked release;
  level_codes(kernels, columns.data(), n, grids, bounded(threads), made, measures);
  return out;
}

auto level_values_bound(int isa, In<uint8_t, 2> codes, In<int32_t, 2> pieces, In<float, 1> levels, int64_t columns,
                        int threads) {
  const int64_t n = int64_t(codes.shape(0)), width = int64_t(codes.shape(1));
  const Kernels& kernels = isa_at(isa);
  const LevelPiece* all = pieces_of(pieces, columns, width, int64_t(levels.shape(0)));
  float* values = fresh<float>(size_t(n * columns));
  auto out = owned(values, size_t(n), size_t(columns));
  Unlocked release;
  level_values(kernels, codes.data(), n, width, all, int64_t(pieces.shape(0)), levels.data(), columns, bounded(threads),
               values);
  return out;
}

auto weighted_sums_bound(int isa, In<float, 2> weights, In<float, 2> rows, int threads) {
  const int64_t n = int64_t(weights.shape(0)), k = int64_t(weights.shape(1)), d = int64_t(rows.shape(1));
  const Kernels& kernels = isa_at(isa);
  expect(int64_t(rows.shape(0)) == k, "weighted_sums: weights do not match the rows");
  float* sums = fresh<float>(size_t(n * d));
  auto out = owned(sums, size_t(n), size_t(d));
  Unlocked release;
  weighted_sums(kernels, weights.data(), n, k, rows.data(), d, bounded(threads), sums);
  return out;
}

}  // namespace

void bind_coding(nb::module_& m) {
  using namespace nb::literals;
  m.def("group_sums", group_sums_bound, "isa"_a, "x"_a, "labels"_a, "k"_a, "threads"_a);
  m.def("spans", spans_bound, "isa"_a, "x"_a, "mean"_a, "threads"_a);
  m.def("even_steps", even_steps_bound, "isa"_a, "x"_a, "mean"_a, "firsts"_a, "lasts"_a, "bits"_a, "cell_bits"_a,
        "threads"_a);
  m.def("level_codes", level_codes_bound, "isa"_a, "columns"_a, "sums"_a, "codes"_a, "starts"_a, "pieces"_a, "inside"_a,
        "width"_a, "threads"_a);
  m.def("level_values", level_values_bound, "isa"_a, "codes"_a, "pieces"_a, "levels"_a, "columns"_a, "threads"_a);
  m.def("weighted_sums", weighted_sums_bound, "isa"_a, "weights"_a, "rows"_a, "threads"_a);
}

}  // namespace nearfield
