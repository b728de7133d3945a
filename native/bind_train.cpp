#include <nanobind/stl/pair.h>

#include <algorithm>
#include <vector>

#include "bind.h"
#include "train.h"

namespace nearfield {
namespace {

int bounded(int threads) { return std::clamp(threads, 1, 1024); }

auto assign_bound(int isa, In<float, 2> x, In<float, 2> centroids, int threads) {
  const size_t n = x.shape(0), d = x.shape(1), c = centroids.shape(0);
  expect(centroids.shape(1) == d && c >= 1 && c < (1u << 24), "assign: centroids do not match the rows");
  const Kernels& kernels = isa_at(isa);
  int32_t* ids = fresh<int32_t>(n);
  auto ids_out = owned(ids, n);
  float* distances = fresh<float>(n);
  auto distances_out = owned(distances, n);
  {
    Unlocked release;
    assign(kernels, x.data(), int64_t(n), int64_t(d), centroids.data(), int64_t(c), bounded(threads), ids,
           distances);
  }
  return std::make_pair(std::move(ids_out), std::move(distances_out));
}

auto plus_plus_bound(int isa, In<float, 2> x, int64_t first, In<double, 1> draws) {
  const int64_t n = int64_t(x.shape(0)), d = int64_t(x.shape(1)), k = int64_t(draws.shape(0)) + 1;
  expect(first >= 0 && first < n, "plus_plus: the first is not one of the rows");
  const Kernels& kernels = isa_at(isa);
  std::vector<int64_t> found(static_cast<size_t>(k));
  int64_t count = 0;
  {
    Unlocked release;
    count = plus_plus(kernels, x.data(), n, d, k, first, draws.data(), found.data());
  }
  int64_t* ids = fresh<int64_t>(size_t(count));
  auto out = owned(ids, size_t(count));
  std::copy_n(found.data(), count, ids);
  return out;
}

auto part_tables_bound(int isa, In<float, 2> q, In<float, 3> codebooks, int threads) {
  const size_t m = q.shape(0), parts = codebooks.shape(0), c = codebooks.shape(1), sub = codebooks.shape(2);
  expect(q.shape(1) == parts * sub, "part_tables: the query's width is not parts * sub");
  const Kernels& kernels = isa_at(isa);
  float* out = fresh<float>(m * parts * c);
  auto out_array = owned(out, m, parts * c);
  {
    Unlocked release;
    part_tables(kernels, q.data(), int64_t(m), codebooks.data(), int64_t(parts), int64_t(c), int64_t(sub),
                bounded(threads), out);
  }
  return out_array;
}

auto hamming_bound(int isa, In<uint8_t, 2> q, In<uint8_t, 2> codes, int threads) {
  const size_t m = q.shape(0), n = codes.shape(0), width = q.shape(1);
  expect(codes.shape(1) == width, "hamming: queries and rows differ in width");
  const Kernels& kernels = isa_at(isa);
  int32_t* out = fresh<int32_t>(m * n);
  auto out_array = owned(out, m, n);
  {
    Unlocked release;
    hamming(kernels, q.data(), int64_t(m), codes.data(), int64_t(n), int64_t(width), bounded(threads), out);
  }
  return out_array;
}

}  // namespace

void bind_train(nb::module_& m) {
  using namespace nb::literals;
  m.def("assign", assign_bound, "isa"_a, "x"_a, "centroids"_a, "threads"_a);
  m.def("plus_plus", plus_plus_bound, "isa"_a, "x"_a, "first"_a, "draws"_a);
  m.def("part_tables", part_tables_bound, "isa"_a, "q"_a, "codebooks"_a, "threads"_a);
  m.def("hamming", hamming_bound, "isa"_a, "q"_a, "codes"_a, "threads"_a);
}

}  // namespace nearfield
