#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <algorithm>
#include <memory>

#include "bind_lines.h"
#include "bind_work.h"
#include "graph_build.h"
#include "layers.h"
#include "near_lists.h"
#include "trees.h"

namespace nearfield {
namespace {

using Dead = std::optional<In<uint8_t, 1>>;

template <typename T, int D>
using InOut = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

ByteRows byte_rows(const In<int8_t, 2>& bytes, const In<float, 2>& sides) {
  const int64_t n = int64_t(bytes.shape(0));
  expect(bytes.shape(1) % kPad == 0 && n >= 1 && n < (int64_t(1) << 31), "rows: expected bytes padded to 32");
  expect(int64_t(sides.shape(0)) == n && sides.shape(1) == sizeof(Side) / sizeof(float),
         "rows: expected four numbers beside the bytes of each");
  return {bytes.data(), n, int64_t(bytes.shape(1)), reinterpret_cast<const Side*>(sides.data())};
}

Growing growing(int isa, const ByteRows& of, InOut<uint32_t, 2>& links, InOut<int32_t, 1>& counts, int64_t degree,
                int64_t chosen, int64_t width, float alpha, int threads, const Dead& dead = {}) {
  expect(int64_t(counts.shape(0)) == of.n && int64_t(links.shape(0)) == of.n, "grow: expected one of each for each row");
  const int64_t room = int64_t(links.shape(1));
  expect(degree >= 1 && room > degree && chosen >= 1 && chosen <= degree && width >= 1,
         "grow: expected room for more than degree");
  expect(!dead || int64_t(dead->shape(0)) == of.n, "grow: expected a mark for each row");
  return {&isa_at(isa), of, links.data(), counts.data(), room, degree, chosen, width, alpha, nullptr, 0,
          std::clamp(threads, 1, 1024), dead ? dead->data() : nullptr};
}

void check(const In<uint32_t, 1>& rows, int64_t n) {
  for (size_t i = 0; i < rows.shape(0); i++) expect(rows.data()[i] < n, "a row number is out of range");
}

// Links that grow in pieces, beside the arrays that they are kept in. Nothing is seen of Python while a piece is made:
// what asks for an end waits for the piece.
struct BoundGrowth {
  In<int8_t, 2> bytes;
  In<float, 2> sides;
  InOut<uint32_t, 2> links;
  InOut<int32_t, 1> counts;
  Dead dead;
  Growing g;

  BoundGrowth(int isa, In<int8_t, 2> bytes_, In<float, 2> sides_, InOut<uint32_t, 2> links_, InOut<int32_t, 1> counts_,
              int64_t degree, int64_t chosen, int64_t width, float alpha, int threads, const BoundLines* lines, Dead dead_)
      : bytes(bytes_), sides(sides_), links(links_), counts(counts_), dead(dead_),
        g(growing(isa, byte_rows(bytes, sides), links, counts, degree, chosen, width, alpha, threads, dead)) {
    expect(!lines || (lines->rows.n == g.rows.n && lines->rows.dim <= g.rows.stride), "grow: expected a line for each row");
    if (lines) g.lines = &lines->rows;
  }

  void expect_chosen(const InOut<uint32_t, 2>& chosen, size_t count) const {
    expect(chosen.shape(0) == count && int64_t(chosen.shape(1)) == g.chosen, "grow: expected a place for each link");
  }
  void choose(In<uint32_t, 1> rows, In<uint32_t, 1> entries, bool own, InOut<uint32_t, 2> chosen) const {
    Growing from = g;
    from.entries = entries.data(), from.n_entries = int64_t(entries.shape(0));
    check(rows, g.rows.n), check(entries, g.rows.n);
    expect(own ? entries.shape(0) == rows.shape(0) : entries.shape(0) >= 1, "grow: expected entries");
    expect_chosen(chosen, rows.shape(0));
    Unlocked release;
    nearfield::choose(from, rows.data(), int64_t(rows.shape(0)), own ? entries.data() : nullptr, chosen.data());
  }
  void choose_near(int64_t first, In<uint32_t, 2> near, InOut<uint32_t, 2> chosen) const {
    const int64_t count = int64_t(near.shape(0));
    expect(first >= 0 && first <= g.rows.n - count && near.shape(1) >= 1, "grow: expected [n, k] near rows");
    expect_chosen(chosen, near.shape(0));
    Unlocked release;
    nearfield::choose_near(g, first, count, near.data(), int64_t(near.shape(1)), chosen.data());
  }
  void choose_beyond(In<uint32_t, 1> rows, InOut<uint32_t, 2> chosen) const {
    check(rows, g.rows.n);
    expect(dead.has_value(), "grow: expected to know which rows are dead");
    expect_chosen(chosen, rows.shape(0));
    Unlocked release;
    nearfield::choose_beyond(g, rows.data(), int64_t(rows.shape(0)), chosen.data());
  }
  void enter(In<uint32_t, 1> rows, InOut<uint32_t, 2> chosen) const {
    check(rows, g.rows.n);
    expect_chosen(chosen, rows.shape(0));
    Unlocked release;
    nearfield::enter(g, rows.data(), int64_t(rows.shape(0)), chosen.data());
  }
  // What was done is told in an array, so that it is known also where an interrupt comes first.
  void lead_back(In<uint64_t, 1> edges, InOut<int64_t, 1> done) const {
    const int64_t count = int64_t(edges.shape(0));
    for (int64_t e = 0; e < count; e++)
      expect(std::max(edges.data()[e] >> 32, edges.data()[e] & 0xffffffffu) < uint64_t(g.rows.n), "edges: no such row");
    expect(done.shape(0) == 1, "edges: expected one number");
    Unlocked release;
    nearfield::lead_back(g, edges.data(), count);
    done.data()[0] += count;
  }
  void settle(In<uint32_t, 1> rows) const {
    check(rows, g.rows.n);
    Unlocked release;
    nearfield::settle(g, rows.data(), int64_t(rows.shape(0)));
  }
};

auto descend_bound(int isa, In<int8_t, 2> bytes, In<float, 2> sides, InOut<uint32_t, 2> links, InOut<int32_t, 1> counts,
                   In<int8_t, 2> of, In<float, 2> of_sides, In<uint32_t, 1> rows, In<uint32_t, 1> starts, int threads) {
  const Growing g = growing(isa, byte_rows(bytes, sides), links, counts, 1, 1, 1, 1, threads);
  const ByteRows others = byte_rows(of, of_sides);
  expect(others.stride == g.rows.stride && rows.shape(0) == starts.shape(0), "descend: expected a start for each row");
  check(rows, others.n), check(starts, g.rows.n);
  uint32_t* ends = fresh<uint32_t>(rows.shape(0));
  auto ends_out = owned(ends, rows.shape(0));
  Unlocked release;
  descend(g, others, rows.data(), int64_t(rows.shape(0)), starts.data(), ends);
  return ends_out;
}

int64_t grow_trees_bound(int isa, In<int8_t, 2> bytes, In<float, 2> sides, InOut<uint32_t, 2> rows,
                         InOut<int8_t, 3> normals, InOut<float, 3> along, InOut<float, 2> thresholds, int64_t levels,
                         uint64_t seed, int64_t first, std::tuple<int64_t, int64_t, int64_t, int64_t> part, int64_t down,
                         int threads) {
  const ByteRows of = byte_rows(bytes, sides);
  const size_t trees = rows.shape(0);
  expect(levels >= 0 && levels < 31 && (of.n >> levels) >= 1, "trees: expected a row for each leaf");
  const size_t nodes = size_t(std::max<int64_t>((int64_t(1) << levels) - 1, 1));
  expect(int64_t(rows.shape(1)) == of.n, "trees: expected rows [trees, n]");
  expect(normals.shape(0) == trees && along.shape(0) == trees && thresholds.shape(0) == trees &&
             normals.shape(1) == nodes && along.shape(1) == nodes && thresholds.shape(1) == nodes,
         "trees: expected as many nodes for each tree");
  expect(int64_t(normals.shape(2)) == of.stride && along.shape(2) == 4, "trees: expected directions as rows are");
  const auto [node, from, to, left] = part;
  expect(left >= 0 && left <= levels && node + 1 >= int64_t(1) << (levels - left) &&
             node + 1 < int64_t(2) << (levels - left) && from >= 0 && from < to && to <= of.n && (to - from) >> left >= 1,
         "trees: expected a part of the trees");
  for (size_t t = 0; t < trees; t++)
    for (int64_t r = from; r < to; r++) expect(rows.data()[int64_t(t) * of.n + r] < of.n, "trees: no such row");
  const NewTrees out = {rows.data(), normals.data(), reinterpret_cast<Side*>(along.data()), thresholds.data()};
  Unlocked release;
  return grow_trees(isa_at(isa), of, int64_t(trees), levels, seed, first, {node, from, to, left}, down,
                    std::clamp(threads, 1, 1024), out);
}

// Lists of near rows that are brought on in pieces, beside the arrays that they are kept in.
struct BoundNear {
  In<int8_t, 2> bytes;
  In<float, 2> sides;
  InOut<uint32_t, 2> rows;
  InOut<float, 2> gaps;
  InOut<uint8_t, 2> fresh;
  int64_t n;
  std::unique_ptr<NearJoins> joins;
  bool drawn = false;

  BoundNear(int isa, In<int8_t, 2> bytes_, In<float, 2> sides_, InOut<uint32_t, 2> rows_, InOut<float, 2> gaps_,
            InOut<uint8_t, 2> fresh_, int64_t some, int threads)
      : bytes(bytes_), sides(sides_), rows(rows_), gaps(gaps_), fresh(fresh_) {
    const ByteRows of = byte_rows(bytes, sides);
    const size_t k = rows.shape(1);
    n = of.n;
    expect(int64_t(rows.shape(0)) == n && k >= 1 && gaps.shape(0) == rows.shape(0) && gaps.shape(1) == k &&
               fresh.shape(0) == rows.shape(0) && fresh.shape(1) == k && some >= 1,
           "lists: expected rows, gaps and fresh [n, k]");
    for (int64_t e = 0; e < n * int64_t(k); e++)
      expect(rows.data()[e] < n || rows.data()[e] == kNoLink, "lists: a row number is out of range");
    const NearLists lists = {rows.data(), gaps.data(), fresh.data(), n, int64_t(k)};
    joins = std::make_unique<NearJoins>(isa_at(isa), of, lists, some, std::clamp(threads, 1, 1024));
  }

  void leaves(In<uint32_t, 1> order, In<int64_t, 1> begins) {
    check(order, n);
    expect(int64_t(order.shape(0)) == n && begins.shape(0) >= 2, "leaves: expected where each begins, and the end");
    const int64_t* at = begins.data();
    const int64_t count = int64_t(begins.shape(0)) - 1;
    for (int64_t l = 0; l < count; l++) expect(at[l] >= 0 && at[l] <= at[l + 1] && at[l + 1] <= n, "leaves: not in order");
    Unlocked release;
    joins->leaves(order.data(), at, count);
  }
  void expect_rows(int64_t from, int64_t to) const { expect(from >= 0 && from <= to && to <= n, "lists: no such rows"); }
  void draw(uint64_t seed, int64_t from, int64_t to) {
    expect_rows(from, to);
    drawn = true;
    Unlocked release;
    joins->draw(seed, from, to);
  }
  void age(int64_t from, int64_t to) {
    expect_rows(from, to), expect(drawn, "lists: expected draws");
    Unlocked release;
    joins->age(from, to);
  }
  int64_t join(int64_t from, int64_t to) {
    expect_rows(from, to), expect(drawn, "lists: expected draws");
    Unlocked release;
    return joins->join(from, to);
  }
};

}  // namespace

void bind_graph(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<BoundGrowth>(m, "Growth")
      .def(nb::init<int, In<int8_t, 2>, In<float, 2>, InOut<uint32_t, 2>, InOut<int32_t, 1>, int64_t, int64_t, int64_t,
                    float, int, const BoundLines*, Dead>(),
           "isa"_a, "bytes"_a, "sides"_a, "links"_a, "counts"_a, "degree"_a, "chosen"_a, "width"_a, "alpha"_a,
           "threads"_a, "lines"_a = nb::none(), "dead"_a = nb::none(), nb::keep_alive<1, 12>())
      .def("choose", &BoundGrowth::choose, "rows"_a, "entries"_a, "own"_a, "chosen"_a)
      .def("choose_near", &BoundGrowth::choose_near, "first"_a, "near"_a, "chosen"_a)
      .def("choose_beyond", &BoundGrowth::choose_beyond, "rows"_a, "chosen"_a)
      .def("enter", &BoundGrowth::enter, "rows"_a, "chosen"_a)
      .def("lead_back", &BoundGrowth::lead_back, "edges"_a, "done"_a)
      .def("settle", &BoundGrowth::settle, "rows"_a);
  m.def("descend", descend_bound, "isa"_a, "bytes"_a, "sides"_a, "links"_a, "counts"_a, "of"_a, "of_sides"_a, "rows"_a,
        "starts"_a, "threads"_a);
  m.def("grow_trees", grow_trees_bound, "isa"_a, "bytes"_a, "sides"_a, "rows"_a, "normals"_a, "along"_a,
        "thresholds"_a, "levels"_a, "seed"_a, "first"_a, "part"_a, "down"_a, "threads"_a);
  nb::class_<BoundNear>(m, "NearLists")
      .def(nb::init<int, In<int8_t, 2>, In<float, 2>, InOut<uint32_t, 2>, InOut<float, 2>, InOut<uint8_t, 2>, int64_t,
                    int>(),
           "isa"_a, "bytes"_a, "sides"_a, "rows"_a, "gaps"_a, "fresh"_a, "some"_a, "threads"_a)
      .def("leaves", &BoundNear::leaves, "order"_a, "begins"_a)
      .def("draw", &BoundNear::draw, "seed"_a, "from_row"_a, "to_row"_a)
      .def("age", &BoundNear::age, "from_row"_a, "to_row"_a)
      .def("join", &BoundNear::join, "from_row"_a, "to_row"_a);
}

}  // namespace nearfield
