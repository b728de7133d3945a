#include <algorithm>

#include "bind_work.h"
#include "graph_build.h"

namespace nearfield {
namespace {

template <typename T, int D>
using InOut = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

void grow_bound(int isa, In<int8_t, 2> bytes, In<float, 2> sides,
                InOut<uint32_t, 2> links, InOut<int32_t, 1> counts, In<uint32_t, 1> entries, In<uint32_t, 1> rows, int64_t degree, int64_t width,
                float alpha, bool last, int threads) {
  const int64_t n = int64_t(bytes.shape(0));
  expect(bytes.shape(1) % kPad == 0 && n >= 1 && n < (int64_t(1) << 31), "grow: expected rows padded to 32 bytes");
  expect(sides.shape(1) == sizeof(Side) / sizeof(float), "grow: expected four numbers a row");
  for (int64_t size : {int64_t(sides.shape(0)), int64_t(counts.shape(0)), int64_t(links.shape(0))})
    expect(size == n, "grow: expected one of each for each row");
  const int64_t room = int64_t(links.shape(1));
  expect(degree >= 1 && room > degree && width >= 1 && entries.shape(0) >= 1, "grow: expected room for more than degree");
  const Growing g = {&isa_at(isa), {bytes.data(), n, int64_t(bytes.shape(1)), reinterpret_cast<const Side*>(sides.data())},
                     links.data(), counts.data(), room, degree, width, alpha, entries.data(),
                     int64_t(entries.shape(0)), std::clamp(threads, 1, 1024)};
  for (size_t i = 0; i < rows.shape(0); i++) expect(rows.data()[i] < n, "grow: a row number is out of range");
  nb::gil_scoped_release release;
  grow(g, rows.data(), int64_t(rows.shape(0)));
  if (last) settle(g);
}

}  // namespace

void bind_graph(nb::module_& m) {
  using namespace nb::literals;
  m.def("grow", grow_bound, "isa"_a, "bytes"_a, "sides"_a, "links"_a, "counts"_a, "entries"_a, "rows"_a,
        "degree"_a, "width"_a, "alpha"_a, "last"_a, "threads"_a);
}

}  // namespace nearfield
