#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind_finder.h"
#include "hashes.h"
#include "layers.h"
#include "trees.h"

namespace nearfield {
namespace {

void check_rows(const Stored& s) { expect(s.n >= 1 && s.n < (int64_t(1) << 31), "rows: expected less than 2147483648"); }

BoundFinder layered_finder(const BoundRows& rows, In<uint32_t, 2> links, In<uint32_t, 1> members, In<uint32_t, 2> upper,
                           std::vector<int64_t> counts, In<float, 2> effort) {
  const Stored& s = in_memory(rows);
  check_rows(s);
  expect(int64_t(links.shape(0)) == s.n && links.shape(1) >= 1 && upper.shape(1) >= 1, "links: expected [n, degree]");
  int64_t all = 0, most = int64_t(members.shape(0));
  for (const int64_t count : counts) {
    expect(count >= 1 && count <= most, "counts: expected layers that become thinner");
    most = count, all += count;
  }
  expect(!counts.empty() && all == int64_t(upper.shape(0)), "upper: expected links for each member of each layer");
  const Links lowest = {links.data(), int64_t(links.shape(1)), nullptr, 0};
  Upper above = {members.data(), upper.data(), int64_t(upper.shape(1)), std::move(counts)};
  return {std::make_unique<LayeredFinder>(s, lowest, std::move(above), filter_costs(effort)),
          {rows.codes, rows.terms, nb::cast(links), nb::cast(members), nb::cast(upper)}};
}

BoundFinder trees_finder(const BoundRows& rows, In<uint32_t, 2> order, In<int8_t, 3> normals, In<float, 3> sides,
                         In<float, 2> thresholds, int64_t levels, int64_t dim, float length) {
  const Stored& s = in_memory(rows);
  check_rows(s);
  expect(levels >= 0 && levels < 31, "trees: too many levels");
  const Trees trees = {order.data(),      normals.data(),          reinterpret_cast<const Side*>(sides.data()),
                       thresholds.data(), s.n,                     int64_t(order.shape(0)),
                       levels,            int64_t(normals.shape(2))};
  expect(trees.trees >= 1 && int64_t(order.shape(1)) == s.n, "trees: expected rows [trees, n]");
  for (const size_t size : {normals.shape(0), sides.shape(0), thresholds.shape(0)})
    expect(int64_t(size) == trees.trees, "trees: expected as many");
  for (const size_t size : {normals.shape(1), sides.shape(1), thresholds.shape(1)})
    expect(int64_t(size) == std::max<int64_t>(trees.nodes(), 1), "trees: expected nodes of so many levels");
  expect(sides.shape(2) == 4 && trees.stride % 32 == 0 && dim >= 1 && dim <= trees.stride, "trees: expected directions");
  BoundFinder out = {std::make_unique<TreesFinder>(s, trees, dim, length),
                     {rows.codes, rows.terms, nb::cast(order), nb::cast(normals), nb::cast(sides), nb::cast(thresholds)}};
  out.looks = dim;
  return out;
}

Slots slots(bool signs, int64_t tables, int64_t bits) {
  expect(tables >= 1 && bits >= 1 && bits <= 32, "slots: expected from 1 to 32 bits");
  return {signs, tables, bits};
}

BoundFinder hash_finder(const BoundRows& rows, bool signs, int64_t bits, In<float, 2> directions, In<float, 1> offsets,
                        In<uint32_t, 2> keys, In<uint32_t, 2> order) {
  const Stored& s = in_memory(rows);
  check_rows(s);
  const Slots made = slots(signs, int64_t(keys.shape(0)), bits);
  const int64_t all = made.tables * bits;
  expect(int64_t(directions.shape(0)) == all && int64_t(directions.shape(1)) == s.format.dim &&
             int64_t(offsets.shape(0)) == all,
         "directions: expected [tables * bits, dim]");
  expect(int64_t(keys.shape(1)) == s.n && order.shape(0) == keys.shape(0) && int64_t(order.shape(1)) == s.n,
         "keys: expected keys and rows [tables, n]");
  return {std::make_unique<HashFinder>(s, Hashes{made, directions.data(), offsets.data(), keys.data(), order.data()}),
          {rows.codes, rows.terms, nb::cast(directions), nb::cast(offsets), nb::cast(keys), nb::cast(order)}};
}

auto hash_keys(bool signs, int64_t bits, In<float, 2> projections) {
  expect(bits >= 1 && projections.shape(1) % size_t(bits) == 0, "keys: expected [n, tables * bits]");
  const int64_t n = int64_t(projections.shape(0)), all = int64_t(projections.shape(1));
  const Slots made = slots(signs, all / bits, bits);
  uint32_t* keys = fresh<uint32_t>(size_t(n * made.tables));
  auto keys_out = owned(keys, size_t(n), size_t(made.tables));
  Unlocked release;
  for (int64_t i = 0; i < n; i++) keys_of(made, projections.data() + i * all, keys + i * made.tables);
  return keys_out;
}

}  // namespace

void bind_families(nb::module_& m) {
  using namespace nb::literals;
  m.def("layered_finder", layered_finder, "rows"_a, "links"_a, "members"_a, "upper"_a, "counts"_a,
        "effort"_a);
  m.def("trees_finder", trees_finder, "rows"_a, "order"_a, "normals"_a, "sides"_a, "thresholds"_a, "levels"_a,
        "dim"_a, "length"_a);
  m.def("hash_finder", hash_finder, "rows"_a, "signs"_a, "bits"_a, "directions"_a, "offsets"_a, "keys"_a, "order"_a);
  m.def("hash_keys", hash_keys, "signs"_a, "bits"_a, "projections"_a);
}

}  // namespace nearfield
