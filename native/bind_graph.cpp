#include <nanobind/stl/optional.h>

#include <algorithm>

#include "bind_work.h"
#include "graph_update.h"

namespace nearfield {
namespace {

template <typename T, int D>
using InOut = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

using Dead = std::optional<In<uint8_t, 1>>;

Growing growing(int isa, const In<int8_t, 2>& bytes, const In<float, 2>& sides, const InOut<uint32_t, 2>& links,
                const InOut<int32_t, 1>& counts, const In<uint32_t, 1>& entries, const In<uint32_t, 1>& rows,
                int64_t degree, int64_t width, float alpha, int threads, const Dead& dead) {
  const int64_t n = int64_t(bytes.shape(0));
  expect(bytes.shape(1) % kPad == 0 && n >= 1 && n < (int64_t(1) << 31), "graph: expected rows padded to 32 bytes");
  expect(sides.shape(1) == sizeof(Side) / sizeof(float), "graph: expected four numbers a row");
  for (int64_t size : {int64_t(sides.shape(0)), int64_t(counts.shape(0)), int64_t(links.shape(0))})
    expect(size == n, "graph: expected one of each for each row");
  expect(!dead || int64_t(dead->shape(0)) == n, "graph: expected a mark for each row");
  const int64_t room = int64_t(links.shape(1));
  expect(degree >= 1 && room > degree && width >= 1 && entries.shape(0) >= 1, "graph: expected room for more than degree");
  for (const auto* some : {&rows, &entries})
    for (size_t i = 0; i < some->shape(0); i++) expect(some->data()[i] < n, "graph: a row number is out of range");
  return {&isa_at(isa), {bytes.data(), n, int64_t(bytes.shape(1)), reinterpret_cast<const Side*>(sides.data())},
          links.data(), counts.data(), room, degree, width, alpha, entries.data(),
          int64_t(entries.shape(0)), std::clamp(threads, 1, 1024), dead ? dead->data() : nullptr};
}

void grow_bound(int isa, In<int8_t, 2> bytes, In<float, 2> sides, InOut<uint32_t, 2> links, InOut<int32_t, 1> counts,
                In<uint32_t, 1> entries, In<uint32_t, 1> rows, int64_t degree, int64_t width, float alpha, bool last,
                int threads, Dead dead) {
  const Growing g = growing(isa, bytes, sides, links, counts, entries, rows, degree, width, alpha, threads, dead);
  nb::gil_scoped_release release;
  grow(g, rows.data(), int64_t(rows.shape(0)));
  if (last) settle(g);
}

void mend_bound(int isa, In<int8_t, 2> bytes, In<float, 2> sides, InOut<uint32_t, 2> links, InOut<int32_t, 1> counts,
                In<uint32_t, 1> entries, In<uint32_t, 1> rows, int64_t degree, int64_t width, float alpha, bool last,
                int threads, In<uint8_t, 1> dead) {
  const Growing g = growing(isa, bytes, sides, links, counts, entries, rows, degree, width, alpha, threads, dead);
  nb::gil_scoped_release release;
  mend(g, rows.data(), int64_t(rows.shape(0)));
  if (last) settle(g);
}

}  // namespace

void bind_graph(nb::module_& m) {
  using namespace nb::literals;
  m.def("grow", grow_bound, "isa"_a, "bytes"_a, "sides"_a, "links"_a, "counts"_a, "entries"_a, "rows"_a,
        "degree"_a, "width"_a, "alpha"_a, "last"_a, "threads"_a, "dead"_a = nb::none());
  m.def("mend", mend_bound, "isa"_a, "bytes"_a, "sides"_a, "links"_a, "counts"_a, "entries"_a, "rows"_a,
        "degree"_a, "width"_a, "alpha"_a, "last"_a, "threads"_a, "dead"_a);
}

}  // namespace nearfield
