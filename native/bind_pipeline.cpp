#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind_disk.h"
#include "bind_work.h"
#include "graph.h"
#include "pipeline.h"

namespace nearfield {
namespace {

using Bits = Given<uint64_t, 1>;

// Native objects beside the arrays that they read.
struct BoundFinder {
  std::unique_ptr<Finder> finder;
  std::vector<nb::object> kept;
};
struct BoundPipeline {
  nb::object finder;
  std::vector<nb::object> kept;
  std::unique_ptr<Pipeline> pipeline;
};

const uint64_t* bits_of(const Bits& allow, int64_t n) {
  expect(!allow || int64_t(allow->shape(0)) * 64 >= n, "allow: expected a bit for each row");
  return allow ? allow->data() : nullptr;
}

Stored stored(int isa, const Format& f, In<uint8_t, 1> codes, int64_t n, int metric, const Vector& terms) {
  expect(f.layout != kTables, "rows: expected a float or affine layout");
  expect(int64_t(codes.shape(0)) == n * f.width, "codes: the bytes do not match n and width");
  const Work w = work(isa, f, codes.data(), n, {}, metric, terms, 1);
  return {w.isa, f, w.codes, n, metric, w.terms};
}

// Rows whose codes stay in a file, for steps that score some of them again.
BoundRows rows_on_disk(int isa, nb::object format, nb::object disk, int metric, nb::object terms) {
  const DiskRows& rows = *nb::cast<const BoundDisk&>(disk).rows;
  const Format& f = nb::cast<const Format&>(format);
  expect(f.layout != kTables && f.width == rows.width(), "rows: expected a float or affine layout as wide as the rows on disk");
  const Vector each = terms.is_none() ? Vector() : Vector(nb::cast<In<float, 1>>(terms, false));
  const Work w = work(isa, f, nullptr, rows.n(), {}, metric, each, 1);
  return {{w.isa, f, nullptr, rows.n(), metric, w.terms}, format, disk, terms, &rows, nb::none()};
}

BoundFinder graph_finder(const BoundRows& rows, In<uint32_t, 2> links, In<uint32_t, 1> entries) {
  const Stored& s = rows.stored;
  expect(s.codes != nullptr, "rows: expected codes in memory");
  expect(s.n < (int64_t(1) << 31) && int64_t(links.shape(0)) == s.n && links.shape(1) >= 1, "links: expected [n, degree]");
  expect(entries.shape(0) >= 1, "entries: expected at least one");
  const Links made = {links.data(), int64_t(links.shape(1)), entries.data(), int64_t(entries.shape(0))};
  return {std::make_unique<GraphFinder>(s, made),
          {rows.codes, rows.terms, nb::cast(links), nb::cast(entries)}};
}

auto find(const BoundFinder& self, int64_t m, nb::tuple q, const Bits& allow, int64_t k, int64_t effort, int threads) {
  const Stored& s = self.finder->stored();
  expect(k >= 1 && k <= s.n, "find: expected k of at least 1, and no more than there are rows");
  const Folded made = folded(s.format, m, q);
  expect(s.metric != kL2 || made.squares, "find: l2 needs the squares of the queries");
  const uint64_t* bits = bits_of(allow, s.n);
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* scores = fresh<float>(size_t(m * k));
  auto scores_out = owned(scores, size_t(m), size_t(k));
  int64_t* scored = fresh<int64_t>(size_t(m));
  auto scored_out = owned(scored, size_t(m));
  {
    nb::gil_scoped_release release;
    find_all(*self.finder, made, k, std::min(effort, s.n), bits, std::clamp(threads, 1, 1024), ids, scores, scored);
  }
  return std::make_tuple(std::move(ids_out), std::move(scores_out), std::move(scored_out));
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

// (affine of the weights, three numbers)
Folding folding(nb::tuple t, const Format& f, std::vector<nb::object>& kept) {
  Folding out = {};
  out.weights = affine(nb::cast<nb::tuple>(t[0]), kept);
  expect(out.weights.out == f.dim, "folding: the weights do not match the codes");
  for (int c = 0; c < 3; c++) out.numbers[c] = number(t[size_t(c) + 1], out.weights.in, kept);
  return out;
}

void make_pipeline(BoundPipeline* self, nb::object finder, bool unit, nb::tuple map, nb::tuple fold,
                   nb::tuple bias, nb::list steps) {
  new (self) BoundPipeline();
  self->finder = finder;
  const Finder& of = *nb::cast<const BoundFinder&>(finder).finder;
  const Affine mapping = affine(map, self->kept);
  const Folding first = folding(fold, of.stored().format, self->kept);
  expect(first.weights.in == mapping.out, "pipeline: the codec does not match the maps");
  std::vector<Rescoring> made;
  for (nb::handle step : steps) {  // (rows, folding, mapped, residual, depth)
    const auto t = nb::cast<nb::tuple>(step);
    const BoundRows& rows = nb::cast<const BoundRows&>(t[0]);
    Rescoring r = {rows.stored, folding(nb::cast<nb::tuple>(t[1]), rows.stored.format, self->kept), nb::cast<bool>(t[2]),
                   nb::cast<bool>(t[3]), nb::cast<int64_t>(t[4]), rows.disk};
    if (!rows.checks.is_none()) r.checks = nb::cast<const BoundChecks&>(rows.checks).checks.get();
    expect(r.stored.n == of.stored().n && r.depth >= 1, "pipeline: a step has other rows");
    expect(!r.residual || made.empty(), "pipeline: residuals come first");
    expect(r.folding.weights.in == (r.mapped ? mapping.out : mapping.in), "pipeline: a step does not match its queries");
    self->kept.push_back(nb::borrow(t[0]));
    made.push_back(r);
  }
  self->pipeline = std::make_unique<Pipeline>(of, unit, mapping, first, number(bias, mapping.in, self->kept),
                                              std::move(made));
}

nb::object run_pipeline(const BoundPipeline& self, In<float, 2> q, int64_t k, int64_t effort, const Bits& allow,
                        int threads) {
  const int64_t m = int64_t(q.shape(0)), n = nb::cast<const BoundFinder&>(self.finder).finder->stored().n;
  if (int64_t(q.shape(1)) != self.pipeline->dim() || k < 1 || k > n) return nb::none();
  const uint64_t* bits = bits_of(allow, n);
  int64_t* ids = fresh<int64_t>(size_t(m * k));
  auto ids_out = owned(ids, size_t(m), size_t(k));
  float* scores = fresh<float>(size_t(m * k));
  auto scores_out = owned(scores, size_t(m), size_t(k));
  int64_t* scored = fresh<int64_t>(size_t(m));
  auto scored_out = owned(scored, size_t(m));
  int64_t* rescored = fresh<int64_t>(size_t(m));
  auto rescored_out = owned(rescored, size_t(m));
  bool sound;
  {
    nb::gil_scoped_release release;
    sound = self.pipeline->search(q.data(), m, k, std::min(effort, n), bits, std::clamp(threads, 1, 1024), ids, scores,
                                  scored, rescored);
  }
  if (!sound) return nb::none();
  return nb::cast(std::make_tuple(std::move(ids_out), std::move(scores_out), std::move(scored_out),
                                  std::move(rescored_out)));
}

}  // namespace

void bind_pipeline(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<BoundRows>(m, "Rows").def(
      "__init__",
      [](BoundRows* self, int isa, nb::object format, nb::object codes, int64_t n, int metric, nb::object terms,
         nb::object checks) {
        const auto bytes = nb::cast<In<uint8_t, 1>>(codes, false);
        const Vector each = terms.is_none() ? Vector() : Vector(nb::cast<In<float, 1>>(terms, false));
        new (self) BoundRows{stored(isa, nb::cast<const Format&>(format), bytes, n, metric, each), format, codes, terms, nullptr, checks};
      },
      "isa"_a, "format"_a, "codes"_a, "n"_a, "metric"_a, "terms"_a.none(), "checks"_a.none());
  m.def("rows_on_disk", rows_on_disk, "isa"_a, "format"_a, "disk"_a, "metric"_a, "terms"_a.none());
  nb::class_<BoundFinder>(m, "Finder").def("find", find, "m"_a, "coefficients"_a, "allow"_a.none(), "k"_a, "effort"_a,
                                           "threads"_a);
  m.def("graph_finder", graph_finder, "rows"_a, "links"_a, "entries"_a);
  nb::class_<BoundPipeline>(m, "Pipeline")
      .def("__init__", make_pipeline, "finder"_a, "unit"_a, "map"_a, "fold"_a, "bias"_a, "steps"_a)
      .def("search", run_pipeline, "queries"_a, "k"_a, "effort"_a, "allow"_a.none(), "threads"_a);
}

}  // namespace nearfield
