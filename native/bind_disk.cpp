#include "bind_disk.h"
#include "bind_finder.h"
#include "disk_graph.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cstring>

namespace nearfield {
namespace {

void open_disk(BoundDisk* self, int file, int64_t offset, int64_t n, int64_t width, int64_t piece,
               In<uint32_t, 1> sums, std::string name) {
  expect(n >= 0 && width >= 1 && width <= int64_t(1) << 31 && n <= (int64_t(1) << 60) / width && offset >= 0,
         "disk: sizes out of range");
  expect(piece >= 1 && int64_t(sums.shape(0)) == (n * width + piece - 1) / piece,
         "disk: expected a checksum for each piece");
  auto rows = std::make_unique<DiskRows>(file, offset, n, width, piece, sums.data(), std::move(name));
  new (self) BoundDisk{std::move(rows), nb::cast(sums)};
}

void make_checks(BoundChecks* self, int64_t offset, int64_t size, int64_t piece, In<uint32_t, 1> sums,
                 std::string name) {
  expect(piece >= 1 && size >= 0 && int64_t(sums.shape(0)) == (size + piece - 1) / piece,
         "checks: expected a checksum for each piece");
  new (self) BoundChecks{std::make_unique<Checks>(size, piece, sums.data(), offset, std::move(name)), nb::cast(sums)};
}

Out<uint8_t, 2> take(const BoundDisk& self, In<int64_t, 1> rows) {
  const DiskRows& from = *self.rows;
  const int64_t count = int64_t(rows.shape(0)), width = from.width();
  for (int64_t r = 0; r < count; r++)
    expect(rows.data()[r] >= 0 && rows.data()[r] < from.n(), "disk: a row number is out of range");
  uint8_t* out = fresh<uint8_t>(size_t(count * width));
  auto made = owned(out, size_t(count), size_t(width));
  {
    Unlocked release;
    Reading reading(from);
    reading.begin();
    reading.need(rows.data(), count);
    for (int64_t r = 0; r < count; r++) std::memcpy(out + r * width, reading.at(rows.data()[r]), size_t(width));
  }
  return made;
}

nb::dict counts(const BoundDisk& self) {
  const DiskCounts& c = self.rows->counts();
  nb::dict out;
  out["searches"] = c.searches.load(), out["rounds"] = c.rounds.load(), out["wanted"] = c.wanted.load();
  out["early"] = c.early.load(), out["ready"] = c.ready.load(), out["unused"] = c.unused.load(), out["reads"] = c.reads.load();
  out["bytes"] = c.bytes.load(), out["nanoseconds"] = c.nanoseconds.load();
  return out;
}

struct BoundGraph {
  std::unique_ptr<DiskGraph> graph;
  std::vector<nb::object> kept;
};

// `nodes`: an array [blocks, block] or rows on disk; `shape`: nodes a block, bytes a node, element, dim, bytes of the
// values, degree.
void open_graph(BoundGraph* self, nb::object rows, nb::object nodes, nb::tuple shape, In<uint32_t, 1> entries,
                int64_t beam, int64_t cached) {
  const Stored& s = in_memory(nb::cast<const BoundRows&>(rows));
  const auto number = [&](size_t i) { return nb::cast<int64_t>(shape[i]); };
  Nodes n = {nullptr, nullptr, 0, number(0), number(1), int(number(2)), number(3), number(4), number(5)};
  int64_t blocks;
  if (nb::isinstance<BoundDisk>(nodes)) {
    n.disk = nb::cast<const BoundDisk&>(nodes).rows.get();
    n.block = n.disk->width(), blocks = n.disk->n();
  } else {
    const auto array = nb::cast<In<uint8_t, 2>>(nodes, false);
    n.memory = array.data(), n.block = int64_t(array.shape(1)), blocks = int64_t(array.shape(0));
  }
  expect(n.element == kFloat32 || n.element == kFloat16, "disk_graph: expected float values");
  const int64_t each = n.element == kFloat32 ? 4 : 2;
  expect(n.dim >= 1 && n.dim <= 1 << 24 && n.values >= n.dim * each && n.degree >= 1 && n.degree <= 1 << 20,
         "disk_graph: sizes out of range");
  expect(n.size >= n.values + 4 + 4 * n.degree && n.per >= 1 && n.per <= n.block && n.size <= n.block / n.per,
         "disk_graph: nodes do not fit in their blocks");
  expect(n.dim == s.format.dim, "disk_graph: codes of another width");
  expect(blocks >= (s.n + n.per - 1) / n.per && s.n < (int64_t(1) << 31), "disk_graph: expected a node for each row");
  expect(entries.shape(0) >= 1 && beam >= 1 && beam <= 1024 && cached >= 0, "disk_graph: expected entries and a beam");
  auto made = std::make_unique<DiskGraph>(s, n, entries.data(), int64_t(entries.shape(0)), beam, cached);
  new (self) BoundGraph{std::move(made), {rows, nodes, nb::cast(entries)}};
}

auto search_graph(const BoundGraph& self, nb::tuple q, In<float, 2> vectors, const Given<uint64_t, 1>& allow, int64_t k,
                  int64_t width, int threads) {
  const Stored& s = self.graph->stored();
  const int64_t m = int64_t(vectors.shape(0));
  expect(int64_t(vectors.shape(1)) == self.graph->nodes().dim, "disk_graph: queries of another width");
  expect(k >= 1 && k <= s.n && width >= 1, "disk_graph: expected k of at least 1, and no more than there are rows");
  expect(!allow || int64_t(allow->shape(0)) * 64 >= s.n, "allow: expected a bit for each row");
  const Folded made = folded(s.format, m, q);
  expect(s.metric != kL2 || made.squares, "disk_graph: l2 needs the squares of the queries");
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* scores = fresh<float>(size_t(m * k));
  auto scores_out = owned(scores, size_t(m), size_t(k));
  int64_t* scored = fresh<int64_t>(size_t(m));
  auto scored_out = owned(scored, size_t(m));
  {
    Unlocked release;
    self.graph->search(made, vectors.data(), k, std::min(width, s.n), allow ? allow->data() : nullptr,
                       std::clamp(threads, 1, 1024), ids, scores, scored);
  }
  return std::make_tuple(std::move(ids_out), std::move(scores_out), std::move(scored_out));
}

Out<float, 2> score_graph(const BoundGraph& self, In<float, 2> vectors, In<int64_t, 2> rows, int threads) {
  const int64_t m = int64_t(vectors.shape(0)), count = int64_t(rows.shape(1));
  expect(int64_t(vectors.shape(1)) == self.graph->nodes().dim && int64_t(rows.shape(0)) == m,
         "disk_graph: queries of another width");
  for (int64_t r = 0; r < m * count; r++)
    expect(rows.data()[r] >= -1 && rows.data()[r] < self.graph->stored().n, "disk_graph: a row number is out of range");
  float* scores = fresh<float>(size_t(m * count));
  auto out = owned(scores, size_t(m), size_t(count));
  Unlocked release;
  self.graph->score(vectors.data(), m, rows.data(), count, std::clamp(threads, 1, 1024), scores);
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
  nb::class_<BoundChecks>(m, "Checks")
      .def("__init__", make_checks, "offset"_a, "size"_a, "piece"_a, "sums"_a, "name"_a);
  nb::class_<BoundGraph>(m, "DiskGraph")
      .def("__init__", open_graph, "rows"_a, "nodes"_a, "shape"_a, "entries"_a, "beam"_a, "cached"_a)
      .def("search", search_graph, "coefficients"_a, "queries"_a, "allow"_a.none(), "k"_a, "width"_a, "threads"_a)
      .def("score", score_graph, "queries"_a, "rows"_a, "threads"_a);
}

}  // namespace nearfield
