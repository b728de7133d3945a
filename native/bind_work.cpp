#include "bind_work.h"

#include <algorithm>

namespace nearfield {
namespace {

const float* vector_of(const Vector& v, int64_t count, const char* what) {
  if (!v) return nullptr;
  expect(int64_t(v->shape(0)) == count, what);
  return v->data();
}

template <typename T>
std::optional<T> given(nb::handle h) {
  if (h.is_none()) return std::nullopt;
  return nb::cast<T>(h, false);  // a converted copy would die here
}

}  // namespace

Folded folded(const Format& f, int64_t m, nb::tuple q) {
  expect(q.size() == 7, "coefficients: expected seven");
  const auto weights = given<In<float, 2>>(q[0]);
  const auto nibbles = given<In<float, 3>>(q[1]), bytes = given<In<float, 3>>(q[2]);
  const auto vector = [&](size_t i) { return given<In<float, 1>>(q[i]); };
  Folded out = {};
  out.queries = m;
  if (f.layout != kTables) {
    expect(weights && int64_t(weights->shape(0)) == m && int64_t(weights->shape(1)) == f.dim,
           "weights: expected [queries, dim]");
    out.weights = weights->data();
  } else {
    if (f.nibble_columns) {
      expect(nibbles && int64_t(nibbles->shape(0)) == m && int64_t(nibbles->shape(1)) == 2 * f.nibble_columns &&
                 nibbles->shape(2) == 16,
             "nibble_tables: expected [queries, 2 * nibble_columns, 16]");
      out.nibble_tables = nibbles->data();
    }
    if (f.byte_columns) {
      expect(bytes && int64_t(bytes->shape(0)) == m && int64_t(bytes->shape(1)) == f.byte_columns &&
                 bytes->shape(2) == 256,
             "byte_tables: expected [queries, byte_columns, 256]");
      out.byte_tables = bytes->data();
    }
  }
  out.inside = vector_of(vector(3), m, "inside: expected [queries]");
  out.slope = vector_of(vector(4), m, "slope: expected [queries]");
  out.outside = vector_of(vector(5), m, "outside: expected [queries]");
  out.squares = vector_of(vector(6), m, "squares: expected [queries]");
  return out;
}

Work work(int isa, const Format& f, const uint8_t* codes, int64_t n, const Folded& q, int metric,
          const Vector& terms, int threads) {
  expect(n >= 0 && n <= kMostRows, "scan: at most 4294967295 rows at once");
  expect(metric >= kDot && metric <= kL2, "scan: unknown metric");
  expect(metric != kL2 || terms, "scan: l2 needs terms");
  return {&isa_at(isa), &f, codes, n, q, metric, vector_of(terms, n, "terms: expected [n]"), nullptr,
          std::clamp(threads, 1, 1024)};
}

}  // namespace nearfield
