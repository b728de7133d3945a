#include "bind_disk.h"

#include <nanobind/stl/string.h>

#include <cstring>

namespace nearfield {
namespace {

void open_disk(BoundDisk* self, int file, int64_t offset, int64_t n, int64_t width, int64_t piece,
               In<uint32_t, 1> sums, std::string name) {
  expect(n >= 0 && width >= 1 && width <= int64_t(1) << 31 && n <= (int64_t(1) << 60) / width && offset >= 0, "disk: sizes out of range");
  expect(piece >= 1 && int64_t(sums.shape(0)) == (n * width + piece - 1) / piece, "disk: expected a checksum for each piece");
  auto rows = std::make_unique<DiskRows>(file, offset, n, width, piece, sums.data(), std::move(name));
  new (self) BoundDisk{std::move(rows), nb::cast(sums)};
}

Out<uint8_t, 2> take(const BoundDisk& self, In<int64_t, 1> rows) {
  const DiskRows& from = *self.rows;
  const int64_t count = int64_t(rows.shape(0)), width = from.width();
  for (int64_t r = 0; r < count; r++) expect(rows.data()[r] >= 0 && rows.data()[r] < from.n(), "disk: a row number is out of range");
  uint8_t* out = fresh<uint8_t>(size_t(count * width));
  auto made = owned(out, size_t(count), size_t(width));
  {
    nb::gil_scoped_release release;
    Reading reading(from);
    reading.need(rows.data(), count);
    for (int64_t r = 0; r < count; r++) std::memcpy(out + r * width, reading.at(rows.data()[r]), size_t(width));
  }
  return made;
}

nb::dict counts(const BoundDisk& self) {
  const DiskCounts& c = self.rows->counts();
  nb::dict out;
  out["searches"] = c.searches.load(), out["wanted"] = c.wanted.load(), out["early"] = c.early.load();
  out["ready"] = c.ready.load(), out["unused"] = c.unused.load(), out["reads"] = c.reads.load();
  out["bytes"] = c.bytes.load(), out["nanoseconds"] = c.nanoseconds.load();
  return out;
}

}  // namespace

void bind_disk(nb::module_& m) {
  using namespace nb::literals;
  nb::exception<DiskFault>(m, "DiskFault");
  nb::class_<BoundDisk>(m, "Disk")
      .def("__init__", open_disk, "file"_a, "offset"_a, "n"_a, "width"_a, "piece"_a, "sums"_a, "name"_a)
      .def("take", take, "rows"_a)
      .def("counts", counts);
}

}  // namespace nearfield
