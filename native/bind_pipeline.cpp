#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <utility>

#include "bind_disk.h"
#include "bind_finder.h"
#include "bind_lines.h"
#include "bitmap.h"
#include "graph.h"
#include "lists.h"
#include "packed.h"
#include "pipeline.h"

namespace nearfield {
namespace {

template <typename T, int D>
using Filled = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

// Filters as Python hands them over: words of 64 rows and how many match, one filter or one a query.
struct Allow {
  Filters filters;
  nb::object kept;

  Allow(nb::handle h, int64_t n, int64_t m) {
    if (h.is_none()) return;
    const auto t = nb::cast<nb::tuple>(h);
    const auto words = nb::cast<In<uint64_t, 2>>(t[0], false);
    const auto matches = nb::cast<In<int64_t, 1>>(t[1], false);
    const int64_t rows = int64_t(words.shape(0)), wide = int64_t(words.shape(1));
    expect(wide * 64 >= n && (rows == 1 || rows == m) && int64_t(matches.shape(0)) == rows,
           "allow: expected a bit for each row, and one filter, or one for each query");
    filters = {words.data(), matches.data(), rows == 1 ? 0 : wide};
    kept = nb::borrow(h);
  }
};

struct BoundPipeline {
  nb::object finder;
  std::vector<nb::object> kept;
  std::unique_ptr<Pipeline> pipeline;
};

Stored stored(int isa, const Format& f, In<uint8_t, 1> codes, int64_t n, int metric, const Vector& terms, bool blocks) {
  expect(!blocks || f.layout == kTables, "rows: only table layouts lie in blocks");
  const int64_t places = blocks ? (n + kBlock - 1) / kBlock * kBlock : n;
  expect(int64_t(codes.shape(0)) == places * f.width, "codes: the bytes do not match n and width");
  const Work w = work(isa, f, codes.data(), n, {}, metric, terms, 1);
  return {w.isa, f, w.codes, n, metric, w.terms};
}

// Rows whose codes stay in a file, for steps that score some of them again.
BoundRows rows_on_disk(int isa, nb::object format, nb::object disk, int metric, nb::object terms) {
  const DiskRows& rows = *nb::cast<const BoundDisk&>(disk).rows;
  const Format& f = nb::cast<const Format&>(format);
  expect(f.width == rows.width(), "rows: expected a layout as wide as the rows on disk");
  const Vector each = terms.is_none() ? Vector() : Vector(nb::cast<In<float, 1>>(terms, false));
  const Work w = work(isa, f, nullptr, rows.n(), {}, metric, each, 1);
  return {{w.isa, f, nullptr, rows.n(), metric, w.terms}, format, disk, terms, false, &rows};
}

BoundFinder graph_finder(const BoundRows& rows, In<uint32_t, 2> links, In<uint32_t, 1> entries, In<float, 2> effort) {
  const Stored& s = in_memory(rows);
  expect(s.format.layout != kTables, "rows: expected a float or affine layout");
  expect(s.n < (int64_t(1) << 31) && int64_t(links.shape(0)) == s.n && links.shape(1) >= 1, "links: expected [n, degree]");
  expect(entries.shape(0) >= 1, "entries: expected at least one");
  const Links made = {links.data(), int64_t(links.shape(1)), entries.data(), int64_t(entries.shape(0))};
  return {std::make_unique<GraphFinder>(s, made, filter_costs(effort)),
          {rows.codes, rows.terms, nb::cast(links), nb::cast(entries)}};
}

BoundFinder packed_finder(const BoundRows& rows, In<uint32_t, 2> links, In<uint32_t, 1> entries, In<float, 2> effort,
                          In<uint8_t, 2> lines, nb::tuple given) {
  BoundFinder out = graph_finder(rows, links, entries, effort);
  const int64_t width = int64_t(lines.shape(1));
  expect(int64_t(lines.shape(0)) == rows.stored.n && width >= 64 && width % 64 == 0, "lines: expected [n, 64 or more]");
  const Links made = {links.data(), int64_t(links.shape(1)), entries.data(), int64_t(entries.shape(0))};
  out.kept.push_back(nb::cast(lines));
  const Axes out_axes = axes(given, width, out.kept);
  out.finder = std::make_unique<PackedFinder>(rows.stored, made, Lines{lines.data(), width, out_axes}, filter_costs(effort));
  out.looks = out_axes.dim;
  return out;
}

// Rows in the order of their lists, each list about a centroid.
BoundFinder list_finder(const BoundRows& rows, In<uint32_t, 1> order, In<uint32_t, 1> starts, In<int8_t, 2> centroids,
                        In<float, 1> scales, In<float, 1> slopes, In<float, 1> leans, bool centred) {
  const Stored& s = in_memory(rows);
  const int64_t count = int64_t(centroids.shape(0)), dim = int64_t(centroids.shape(1));
  expect(rows.blocks == (s.format.layout == kTables), "rows: expected table layouts in blocks");
  expect(int64_t(order.shape(0)) == s.n && int64_t(starts.shape(0)) == count + 1 && count >= 1 && dim >= 1,
         "lists: expected an order [n] and where lists begin [lists + 1]");
  for (const auto& each : {scales, slopes, leans})
    expect(int64_t(each.shape(0)) == count, "lists: expected scales, slopes and leans [lists]");
  expect(starts.data()[0] == 0 && starts.data()[count] == s.n, "lists: expected the lists to hold all rows");
  for (int64_t l = 0; l < count; l++) expect(starts.data()[l] <= starts.data()[l + 1], "lists: expected starts to ascend");
  for (int64_t i = 0; i < s.n; i++) expect(order.data()[i] < s.n, "lists: a row number is out of range");
  const Lists made = {order.data(),  starts.data(), count, centroids.data(), scales.data(),
                      slopes.data(), leans.data(),  dim,   centred};
  return {std::make_unique<ListFinder>(s, made),
          {rows.codes, rows.terms, nb::cast(order), nb::cast(starts), nb::cast(centroids), nb::cast(scales),
           nb::cast(slopes), nb::cast(leans)},
          dim};
}

// All rows as one list.
BoundFinder flat_finder(const BoundRows& rows) {
  const Stored& s = in_memory(rows);
  expect(rows.blocks == (s.format.layout == kTables), "rows: expected table layouts in blocks");
  return {std::make_unique<ListFinder>(s), {rows.codes, rows.terms}, 0};
}

auto find(const BoundFinder& self, int64_t m, nb::tuple q, nb::handle allow, int64_t k, int64_t effort, int threads,
          const Given<float, 2>& vectors) {
  const Stored& s = self.finder->stored();
  expect(k >= 1 && k <= s.n, "find: expected k of at least 1, and no more than there are rows");
  Folded made = folded(s.format, m, q);
  expect(s.metric != kL2 || made.squares, "find: l2 needs the squares of the queries");
  expect(!self.looks || (vectors && int64_t(vectors->shape(0)) == m && int64_t(vectors->shape(1)) == self.looks),
         "find: expected the queries themselves");
  made.vectors = vectors ? vectors->data() : nullptr;
  const Allow given(allow, s.n, m);
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* scores = fresh<float>(size_t(m * k));
  auto scores_out = owned(scores, size_t(m), size_t(k));
  int64_t* scored = fresh<int64_t>(size_t(m));
  auto scored_out = owned(scored, size_t(m));
  int64_t* ways = fresh<int64_t>(size_t(m));
  auto ways_out = owned(ways, size_t(m));
  {
    Unlocked release;
    find_all(*self.finder, made, k, std::min(effort, s.n), given.filters, std::clamp(threads, 1, 1024), ids, scores,
             scored, ways);
  }
  return std::make_tuple(std::move(ids_out), std::move(scores_out), std::move(scored_out), std::move(ways_out));
}

template <int D>
const float* array(nb::handle h, std::vector<nb::object>& kept, std::initializer_list<int64_t> shape, const char* what) {
  if (h.is_none()) return nullptr;
  const auto a = nb::cast<In<float, D>>(h, false);
  size_t i = 0;
  for (int64_t size : shape) expect(int64_t(a.shape(i++)) == size, what);
  kept.push_back(nb::borrow(h));
  return a.data();
}

// (in, out, matrix, diagonal, offset)
Affine affine(nb::tuple t, std::vector<nb::object>& kept) {
  Affine a;
  a.in = nb::cast<int64_t>(t[0]), a.out = nb::cast<int64_t>(t[1]);
  expect(a.in >= 1 && a.out >= 1 && a.in <= 1 << 20 && a.out <= 1 << 20, "affine: sizes out of range");
  a.matrix = array<2>(t[2], kept, {a.out, a.in}, "affine: expected a matrix [out, in]");
  a.diagonal = array<1>(t[3], kept, {a.in}, "affine: expected a diagonal [in]");
  a.offset = array<1>(t[4], kept, {a.out}, "affine: expected an offset [out]");
  expect(a.matrix || a.in == a.out, "affine: only a matrix changes the width");
  return a;
}

// (vector or None, constant, used)
Number number(nb::handle h, int64_t in, std::vector<nb::object>& kept) {
  const auto t = nb::cast<nb::tuple>(h);
  return {array<1>(t[0], kept, {in}, "number: expected a vector [in]"), nb::cast<float>(t[1]), nb::cast<bool>(t[2])};
}

// (sources, values) or None
Pieces pieces(nb::handle h, int64_t tables, int64_t entries, int64_t weights, std::vector<nb::object>& kept) {
  Pieces out;
  expect(h.is_none() == (tables == 0), "folding: expected pieces where there are tables");
  if (h.is_none()) return out;
  const auto t = nb::cast<nb::tuple>(h);
  const auto sources = nb::cast<In<int32_t, 2>>(t[0], false);
  out.count = int64_t(sources.shape(0)), out.tables = tables, out.sources = sources.data();
  expect(int64_t(sources.shape(1)) == tables, "folding: expected sources [pieces, tables]");
  out.values = array<3>(t[1], kept, {out.count, tables, entries}, "folding: expected values [pieces, tables, entries]");
  for (int64_t i = 0; i < out.count * tables; i++)
    expect(out.sources[i] >= 0 && out.sources[i] < weights, "folding: a source is out of range");
  kept.push_back(nb::borrow(t[0]));
  return out;
}

// (affine of the weights, three numbers, pieces of nibble tables, of byte tables)
Folding folding(nb::tuple t, const Format& f, std::vector<nb::object>& kept) {
  Folding out = {};
  out.weights = affine(nb::cast<nb::tuple>(t[0]), kept);
  if (f.layout == kTables) {
    out.nibbles = pieces(t[4], 2 * f.nibble_columns, 16, out.weights.out, kept);
    out.bytes = pieces(t[5], f.byte_columns, 256, out.weights.out, kept);
  } else {
    expect(out.weights.out == f.dim, "folding: the weights do not match the codes");
  }
  for (int c = 0; c < 3; c++) out.numbers[c] = number(t[size_t(c) + 1], out.weights.in, kept);
  return out;
}

void make_pipeline(BoundPipeline* self, nb::object finder, bool unit, nb::tuple map, nb::tuple fold,
                   nb::tuple bias, nb::list steps, nb::handle live) {
  new (self) BoundPipeline();
  self->finder = finder;
  const Finder& of = *nb::cast<const BoundFinder&>(finder).finder;
  const Affine mapping = affine(map, self->kept);
  const Folding first = folding(fold, of.stored().format, self->kept);
  expect(first.weights.in == mapping.out, "pipeline: the codec does not match the maps");
  const int64_t looks = nb::cast<const BoundFinder&>(finder).looks;
  expect(!looks || looks == mapping.out, "pipeline: the index does not match the maps");
  std::vector<Rescoring> made;
  for (nb::handle step : steps) {  // (rows, folding, mapped, residual, depth)
    const auto t = nb::cast<nb::tuple>(step);
    const BoundRows& rows = nb::cast<const BoundRows&>(t[0]);
    Rescoring r = {rows.stored, folding(nb::cast<nb::tuple>(t[1]), rows.stored.format, self->kept), nb::cast<bool>(t[2]),
                   nb::cast<bool>(t[3]), nb::cast<int64_t>(t[4]), rows.disk};
    if (!rows.checks.is_none()) r.checks = nb::cast<const BoundChecks&>(rows.checks).checks.get();
    expect(r.stored.n == of.stored().n && r.depth >= 1, "pipeline: a step has other rows");
    expect(!rows.blocks, "pipeline: expected a step's codes row by row");
    expect(!r.residual || made.empty(), "pipeline: residuals come first");
    expect(r.folding.weights.in == (r.mapped ? mapping.out : mapping.in), "pipeline: a step does not match its queries");
    self->kept.push_back(nb::borrow(t[0]));
    made.push_back(r);
  }
  const Allow there(live, of.stored().n, 1);
  self->kept.push_back(there.kept);
  self->pipeline = std::make_unique<Pipeline>(of, unit, mapping, first, number(bias, mapping.in, self->kept),
                                              std::move(made), there.filters);
}

// Fills ids and scores [m][k], scored, rescored and ways [m]; false where some queries have no answer, and -1 as scored.
bool run_pipeline(const BoundPipeline& self, In<float, 2> q, int64_t k, int64_t effort, nb::handle allow, int threads,
                  Filled<int64_t, 2> ids, Filled<float, 2> scores, Filled<int64_t, 2> counts) {
  const size_t m = q.shape(0);
  const int64_t n = nb::cast<const BoundFinder&>(self.finder).finder->stored().n;
  for (const auto& [rows, columns] : {std::pair(ids.shape(0), ids.shape(1)), std::pair(scores.shape(0), scores.shape(1))})
    expect(rows == m && int64_t(columns) == k, "pipeline: expected places for k rows of each query");
  expect(counts.shape(0) == 3 && counts.shape(1) == m, "pipeline: expected three places for each query");
  const Allow given(allow, n, int64_t(m));
  int64_t* scored = counts.data();
  if (int64_t(q.shape(1)) != self.pipeline->dim() || k < 1 || k > n) return std::fill_n(scored, m, -1), false;
  Unlocked release;
  return self.pipeline->search(q.data(), int64_t(m), k, std::min(effort, n), given.filters, std::clamp(threads, 1, 1024),
                               ids.data(), scores.data(), scored, scored + m, scored + 2 * m);
}

nb::object bitmap(nb::object flags) {
  const auto rows = nb::cast<nb::ndarray<const bool, nb::c_contig, nb::device::cpu>>(flags, false);
  expect(rows.ndim() == 1 || rows.ndim() == 2, "allow: expected [n] or [m, n]");
  const size_t m = rows.ndim() == 2 ? rows.shape(0) : 1, n = rows.shape(rows.ndim() - 1), wide = (n + 63) / 64;
  uint64_t* words = fresh<uint64_t>(m * wide);
  auto words_out = owned(words, m, wide);
  int64_t* counts = fresh<int64_t>(m);
  auto counts_out = owned(counts, m);
  const uint8_t* at = reinterpret_cast<const uint8_t*>(rows.data());
  for (size_t i = 0; i < m; i++) counts[i] = pack_flags(at + i * n, int64_t(n), words + i * wide);
  return nb::cast(std::make_tuple(std::move(words_out), std::move(counts_out)));
}

}  // namespace

Axes axes(nb::tuple t, int64_t width, std::vector<nb::object>& kept) {
  const auto rows = nb::cast<In<int8_t, 2>>(t[0], false);
  const auto scales = nb::cast<In<float, 1>>(t[1], false), offsets = nb::cast<In<float, 1>>(t[2], false);
  const auto steps = nb::cast<In<float, 1>>(t[3], false);
  const auto digits = nb::cast<In<uint8_t, 1>>(t[4], false);
  const size_t count = rows.shape(0);
  expect(count >= 1 && rows.shape(1) >= 1, "axes: expected at least one");
  expect(scales.shape(0) == count && offsets.shape(0) == count && steps.shape(0) == count && digits.shape(0) == count, "axes: expected one of each");
  int64_t all = 0;
  for (size_t i = 0; i < count; i++) {
    expect(digits.data()[i] <= 4, "axes: expected at most four digits");
    all += digits.data()[i];
  }
  expect(all <= 4 * (width - kLineEnd), "axes: the digits do not fit in a line");
  for (size_t i = 0; i < 5; i++) kept.push_back(nb::borrow(t[i]));
  return {rows.data(), scales.data(), offsets.data(), steps.data(), digits.data(), int64_t(count), int64_t(rows.shape(1)),
          nb::cast<float>(t[5])};
}

void bind_pipeline(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<BoundRows>(m, "Rows").def(
      "__init__",
      [](BoundRows* self, int isa, nb::object format, nb::object codes, int64_t n, int metric, nb::object terms,
         bool blocks, nb::object checks) {
        const auto bytes = nb::cast<In<uint8_t, 1>>(codes, false);
        const Vector each = terms.is_none() ? Vector() : Vector(nb::cast<In<float, 1>>(terms, false));
        new (self) BoundRows{stored(isa, nb::cast<const Format&>(format), bytes, n, metric, each, blocks), format, codes, terms,
                             blocks, nullptr, checks};
      },
      "isa"_a, "format"_a, "codes"_a, "n"_a, "metric"_a, "terms"_a.none(), "blocks"_a = false,
      "checks"_a.none() = nb::none());
  m.def("rows_on_disk", rows_on_disk, "isa"_a, "format"_a, "disk"_a, "metric"_a, "terms"_a.none());
  nb::class_<BoundFinder>(m, "Finder").def("find", find, "m"_a, "coefficients"_a, "allow"_a.none(), "k"_a, "effort"_a,
                                           "threads"_a, "vectors"_a.none() = nb::none())
      .def("prefer", [](BoundFinder& self, int way) { self.finder->prefer(way); }, "way"_a);
  m.def("list_finder", list_finder, "rows"_a, "order"_a, "starts"_a, "centroids"_a, "scales"_a, "slopes"_a,
        "leans"_a, "centred"_a);
  m.def("flat_finder", flat_finder, "rows"_a);
  m.def("graph_finder", graph_finder, "rows"_a, "links"_a, "entries"_a, "effort"_a);
  m.def("bitmap", bitmap, "flags"_a);
  m.def("packed_finder", packed_finder, "rows"_a, "links"_a, "entries"_a, "effort"_a, "lines"_a, "axes"_a);
  nb::class_<BoundLines>(m, "LineRows")
      .def(nb::init<In<uint8_t, 2>, nb::tuple, bool>(), "lines"_a, "axes"_a, "lifted"_a);
  nb::class_<BoundPipeline>(m, "Pipeline")
      .def("__init__", make_pipeline, "finder"_a, "unit"_a, "map"_a, "fold"_a, "bias"_a, "steps"_a, "live"_a.none())
      .def("search", run_pipeline, "queries"_a, "k"_a, "effort"_a, "allow"_a.none(), "threads"_a,
           "ids"_a, "scores"_a, "counts"_a);
}

}  // namespace nearfield
