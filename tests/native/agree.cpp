// Every instruction set that runs here must give the same ids and scores for integer and table layouts,
// and scores within rounding for float layouts. Stands alone, so that it also runs under emulation:
// compile it for aarch64 with -std=c++20 -static -ffp-contract=off -DNEARFIELD_ARM -Inative, together with
// native/{scan,queries,pool,dispatch,kernels_base,kernels_neon}.cpp, and run it with qemu-aarch64.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "dispatch.h"
#include "scan.h"

using namespace nearfield;

namespace {

std::mt19937 source(1);
int pick(int below) { return int(source() % uint32_t(below)); }
std::vector<float> normals(int64_t n) {
  std::normal_distribution<float> one;
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = one(source);
  return out;
}

struct Case {
  Format f = {};
  std::vector<uint8_t> codes;
  std::vector<float> weights, nibbles, bytes, terms, inside;
  Work w = {};
};

// Bytes are drawn so that no 16-bit or 8-bit float is infinite or NaN.
void fill(Case& c, int layout, int element, int64_t dim, int64_t n, int64_t m) {
  Format& f = c.f;
  f.layout = layout, f.element = element, f.dim = dim;
  for (int i = 0; i < 16; i++) f.levels[i] = int8_t(pick(256) - 128);
  f.nibble_columns = layout == kTables ? dim : 0, f.byte_columns = layout == kTables ? pick(3) : 0;
  const int64_t size = element == kFloat32 ? 4 : element == kFloat16 || element == kBfloat16 ? 2 : 1;
  int64_t body = layout == kTables ? dim + f.byte_columns : layout == kAffine4 ? (dim + 1) / 2 : dim * size;
  f.scale = {pick(2) * kByte, body, -0.5f, 0.01f};
  f.shift = {pick(2) * kHalf, body + 1, 0.0f, 1.0f};
  f.width = body + 3;
  const int64_t rows = (n + kBlock - 1) / kBlock * kBlock;
  c.codes.resize(size_t(rows * f.width));
  for (uint8_t& b : c.codes) b = uint8_t(layout == kF16 ? pick(256) & 0xbb : pick(256));
  if (layout == kF32)
    for (int64_t r = 0; r < n; r++) {
      const std::vector<float> x = normals(dim);
      std::copy_n((const uint8_t*)x.data(), 4 * dim, c.codes.data() + r * f.width);
    }
  for (int64_t r = 0; r < rows; r++)  // a finite half-precision shift, in either arrangement of bytes
    for (uint8_t* p : {&c.codes[size_t(r * f.width + body + 2)],
                       &c.codes[size_t((r / 32 * f.width + body + 2) * 32 + r % 32)]})
      *p &= 0x3b;
  c.weights = normals(m * dim), c.nibbles = normals(m * dim * 32), c.bytes = normals(m * 2 * 256);
  if (pick(2))  // a few columns in front span much more than the others
    for (size_t i = 0; i < c.nibbles.size(); i++) c.nibbles[i] *= std::pow(0.8f, float(i / 32 % size_t(dim)));
  c.terms = normals(n), c.inside = normals(m);
  c.w = {nullptr, &f, c.codes.data(), n,
         {m, c.weights.data(), c.nibbles.data(), c.bytes.data(), c.inside.data(), c.inside.data(), nullptr, nullptr},
         pick(3), c.terms.data(), nullptr, 1 + pick(3)};
}

bool agree(Case& c, const Kernels* a, const Kernels* b, bool exact) {
  const int64_t m = c.w.folded.queries, n = c.w.n, k = 13;
  std::vector<int64_t> ids[2];
  std::vector<float> best[2], every[2];
  for (int i = 0; i < 2; i++) {
    c.w.isa = i ? b : a;
    ids[i].resize(size_t(m * k)), best[i].resize(size_t(m * k)), every[i].resize(size_t(m * n));
    scan(c.w, k, ids[i].data(), best[i].data());
    score_rows(c.w, nullptr, n, every[i].data());
  }
  if (exact) return ids[0] == ids[1] && best[0] == best[1] && every[0] == every[1];
  float size = 1.0f;
  for (float v : every[0]) size = std::max(size, std::fabs(v));
  for (size_t i = 0; i < every[0].size(); i++)
    if (!(std::fabs(every[0][i] - every[1][i]) <= 1e-5f * size)) return false;
  return true;
}

}  // namespace

int main() {
  int count, bad = 0, done = 0;
  const Choice* all = choices(&count);
  const int kinds[][2] = {{kF32, kFloat32}, {kF16, kFloat16},    {kF16, kBfloat16},  {kF16, kE4M3},   {kF16, kE5M2},
                          {kAffine8, kInt8}, {kAffine8, kUint8}, {kAffine4, kUint8}, {kTables, kUint8}};
  for (int i = 1; i < count; i++) {
    if (!all[i].runs) {
      std::printf("%s: not run\n", all[i].kernels->name);
      continue;
    }
    for (auto& kind : kinds)
      for (int dim : {1, 7, 31, 64, 97, 300})
        for (int n : {1, 32, 33, 400}) {
          Case c;
          fill(c, kind[0], kind[1], dim, n, 1 + pick(4));
          const bool exact = kind[0] != kF32 && kind[0] != kF16;
          const bool same = agree(c, all[0].kernels, all[i].kernels, exact);
          if (!same) std::printf("%s: layout %d element %d dim %d n %d differs\n", all[i].kernels->name, kind[0], kind[1], dim, n);
          bad += !same, done++;
        }
    std::printf("%s: compared with %s\n", all[i].kernels->name, all[0].kernels->name);
  }
  std::printf("%d cases, %d differ\n", done, bad);
  return bad ? 1 : 0;
}
