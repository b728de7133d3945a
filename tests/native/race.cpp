// What threads do together: graphs are built, mended and walked, near rows are found, rows are read from disk, by four
// threads, and by four callers at once, and all must come out as one thread alone makes it. Stands alone, for a run
// under a sanitizer that looks for data races: it knows every access then, and nothing of Python.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "crc32.h"
#include "disk_graph.h"
#include "dispatch.h"
#include "graph.h"
#include "graph_build.h"
#include "line_scores.h"
#include "near_lists.h"
#include "packed.h"
#include "pipeline.h"
#include "trees.h"

using namespace nearfield;

namespace {

constexpr int64_t kRows = 2048, kDim = 32, kDegree = 12, kRoom = 18, kQueries = 48, kBest = 10, kWidth = 60;
constexpr int kThreads = 4, kLevels = 5;
constexpr int64_t kNode = 4 * kDim + 4 + 4 * kDegree, kPerBlock = 2, kBytes = 512, kPiece = 4096;
const uint32_t kEntries[] = {0, 1, 2, 3};

const Kernels* isa;
int done = 0, bad = 0;
void check(const char* what, bool same) {
  if (!same) std::printf("%s: differs\n", what);
  done++, bad += !same;
}

struct Rows {
  std::vector<float> values;
  std::vector<int8_t> bytes;
  std::vector<Side> sides;

  explicit Rows(int64_t n) : values(size_t(n * kDim)), bytes(values.size()), sides(size_t(n)) {
    std::mt19937 source(1);
    std::normal_distribution<float> one;
    for (float& v : values) v = one(source);
    for (int64_t r = 0; r < n; r++) {
      float* row = values.data() + r * kDim;
      float length = 0, largest = 0, square = 0;
      for (int64_t i = 0; i < kDim; i++) length += row[i] * row[i];
      for (int64_t i = 0; i < kDim; i++) row[i] /= std::sqrt(length), largest = std::max(largest, std::fabs(row[i]));
      for (int64_t i = 0; i < kDim; i++) {
        const float whole = std::nearbyint(row[i] * 127 / largest);
        bytes[size_t(r * kDim + i)] = int8_t(whole), square += whole * whole;
      }
      const float scale = largest / 127;
      sides[size_t(r)] = {scale, scale * scale * square, 0, 0};
    }
  }
  ByteRows as_bytes() const { return {bytes.data(), int64_t(sides.size()), kDim, sides.data()}; }
  Stored stored(int layout) const {
    Format f = {};
    f.dim = kDim, f.layout = layout, f.element = layout == kF32 ? kFloat32 : kInt8;
    f.width = layout == kF32 ? 4 * kDim : kDim;
    const auto* codes = layout == kF32 ? (const uint8_t*)values.data() : (const uint8_t*)bytes.data();
    return {isa, f, codes, int64_t(sides.size()), kDot, nullptr};
  }
};

// The same rows as a line each: two bits an axis.
struct Lined {
  static constexpr int64_t kLine = 64;
  LineVector<uint8_t> bytes = LineVector<uint8_t>(size_t(kRows * kLine));
  std::vector<int8_t> axes = plain();
  std::vector<float> scales = std::vector<float>(size_t(kDim), 1.0f / 127), offsets = std::vector<float>(size_t(kDim));
  std::vector<float> steps = std::vector<float>(size_t(kDim), 1 / std::sqrt(float(kDim)));
  std::vector<uint8_t> digits = std::vector<uint8_t>(size_t(kDim), 1);
  Lines lines = {bytes.data(), kLine, {axes.data(), scales.data(), offsets.data(), steps.data(), digits.data(), kDim, kDim, 0}};
  PaddedAxes padded;
  LineRows rows;

  explicit Lined(const Rows& from) : padded(lines.axes, kLine) {
    for (int64_t r = 0; r < kRows; r++) {
      uint8_t* line = bytes.data() + r * kLine;
      for (int64_t i = 0; i < kDim; i++) {
        const float level = std::floor(from.values[size_t(r * kDim + i)] / steps[0]) + 2;
        line[i] = uint8_t(std::clamp(level, 0.0f, 3.0f));
      }
      line[kLine - kLineEnd + 1] = 0x3c;  // a scale of 1, in float16
    }
    rows = {bytes.data(), kRows, kLine, kDim, &padded.axes, false};
  }

 private:
  static std::vector<int8_t> plain() {  // the axes of the rows themselves
    std::vector<int8_t> out(size_t(kDim * kDim));
    for (int64_t i = 0; i < kDim; i++) out[size_t(i * kDim + i)] = 127;
    return out;
  }
};

std::vector<uint32_t> counted(int64_t n) {
  std::vector<uint32_t> all(static_cast<size_t>(n));
  for (size_t i = 0; i < all.size(); i++) all[i] = uint32_t(i);
  return all;
}

// Links while they grow.
struct Grown {
  std::vector<uint32_t> links = std::vector<uint32_t>(size_t(kRows * kRoom), kNoLink);
  std::vector<int32_t> counts = std::vector<int32_t>(size_t(kRows), 0);

  Growing growing(const Rows& rows, int threads, const uint8_t* dead = nullptr) {
    return {isa,  rows.as_bytes(), links.data(), counts.data(), kRoom,   kDegree, kDegree, 40,
            1.2f, kEntries,        4,            threads,       dead};
  }
  std::vector<uint32_t> settled() const {
    std::vector<uint32_t> out;
    for (int64_t r = 0; r < kRows; r++)
      out.insert(out.end(), links.begin() + r * kRoom, links.begin() + r * kRoom + kDegree);
    return out;
  }
};

// Gives rows the links that are chosen for them, and leads links back.
void give_links(const Growing& g, const uint32_t* rows, int64_t count, const std::function<void(uint32_t*)>& choosing) {
  std::vector<uint32_t> chosen(size_t(count * g.chosen));
  choosing(chosen.data());
  enter(g, rows, count, chosen.data());
  std::vector<uint64_t> edges;
  for (int64_t i = 0; i < count; i++)
    for (int64_t l = 0; l < g.counts[rows[i]]; l++)
      edges.push_back(uint64_t(g.links[int64_t(rows[i]) * g.room + l]) << 32 | rows[i]);
  std::sort(edges.begin(), edges.end());
  lead_back(g, edges.data(), int64_t(edges.size()));
}

std::vector<uint32_t> built(const Rows& rows, int threads, const LineRows* lines = nullptr) {
  Grown grown;
  Growing g = grown.growing(rows, threads);
  g.lines = lines;
  const std::vector<uint32_t> all = counted(kRows);
  for (int64_t at = 0, some = 4; at < kRows; at += some, some = std::min<int64_t>(std::max<int64_t>(4, at / 2), kRows - at))
    give_links(g, all.data() + at, some, [&](uint32_t* chosen) { choose(g, all.data() + at, some, nullptr, chosen); });
  settle(g, counted(kRows).data(), kRows);
  return grown.settled();
}

// The graph when every seventh row has left it.
std::vector<uint32_t> mended(const Rows& rows, const std::vector<uint32_t>& from, int threads) {
  Grown grown;
  std::vector<uint8_t> dead(static_cast<size_t>(kRows));
  for (int64_t r = 0; r < kRows; r++) {
    dead[size_t(r)] = r % 7 == 5;
    for (; grown.counts[size_t(r)] < kDegree; grown.counts[size_t(r)]++) {
      const uint32_t link = from[size_t(r * kDegree + grown.counts[size_t(r)])];
      if (link == kNoLink) break;
      grown.links[size_t(r * kRoom + grown.counts[size_t(r)])] = link;
    }
  }
  const Growing g = grown.growing(rows, threads, dead.data());
  std::vector<uint32_t> astray;
  for (int64_t r = 0; r < kRows; r++) {
    const uint32_t* links = grown.links.data() + r * kRoom;
    const auto gone = [&](uint32_t to) { return dead[to] != 0; };
    if (!dead[size_t(r)] && std::any_of(links, links + grown.counts[size_t(r)], gone)) astray.push_back(uint32_t(r));
  }
  const int64_t some = int64_t(astray.size());
  give_links(g, astray.data(), some, [&](uint32_t* chosen) { choose_beyond(g, astray.data(), some, chosen); });
  settle(g, counted(kRows).data(), kRows);
  return grown.settled();
}

// The graph of near rows, found by trees and by rounds of NN-descent.
std::vector<uint32_t> linked(const Rows& rows, int threads) {
  constexpr int64_t trees = 3, nodes = (1 << kLevels) - 1, k = 15;
  std::vector<uint32_t> order(size_t(trees * kRows)), near(size_t(kRows * k), kNoLink);
  std::vector<float> thresholds(size_t(trees * nodes)), gaps(near.size(), INFINITY);
  std::vector<uint8_t> fresh(near.size());
  for (int64_t t = 0; t < trees; t++)
    for (int64_t r = 0; r < kRows; r++) order[size_t(t * kRows + r)] = uint32_t(r);
  const ByteRows bytes = rows.as_bytes();
  std::vector<int8_t> normals(thresholds.size() * size_t(bytes.stride));
  std::vector<Side> sides(thresholds.size());
  grow_trees(*isa, bytes, trees, kLevels, 7, 0, {0, 0, kRows, kLevels}, kLevels, threads,
             {order.data(), normals.data(), sides.data(), thresholds.data()});
  std::vector<int64_t> begins;
  for (int64_t l = 0; l <= 1 << kLevels; l++) begins.push_back(l * (kRows >> kLevels));
  const NearLists lists = {near.data(), gaps.data(), fresh.data(), kRows, k};
  NearJoins joins(*isa, rows.as_bytes(), lists, k, threads);
  for (int64_t t = 0; t < trees; t++) joins.leaves(order.data() + t * kRows, begins.data(), 1 << kLevels);
  for (uint64_t round = 0; round < 3; round++) {
    joins.draw(round, 0, kRows), joins.age(0, kRows);
    for (int64_t at = 0; at < kRows; at += 700) joins.join(at, std::min<int64_t>(at + 700, kRows));
  }
  Grown grown;
  const Growing g = grown.growing(rows, threads);
  give_links(g, counted(kRows).data(), kRows, [&](uint32_t* chosen) { choose_near(g, 0, kRows, near.data(), k, chosen); });
  settle(g, counted(kRows).data(), kRows);
  return grown.settled();
}

struct Answer {
  std::vector<int64_t> ids = std::vector<int64_t>(size_t(kQueries * kBest), -1);
  std::vector<float> scores = std::vector<float>(ids.size());
  std::vector<int64_t> scored = std::vector<int64_t>(size_t(kQueries)), rescored = scored, ways = scored;
  bool sound = true;
  bool operator==(const Answer& other) const { return sound && ids == other.ids && scores == other.scores; }
};
using Search = std::function<Answer(int)>;  // on so many threads

// Four threads, then four callers at once, each with so many threads as the pool gives it.
void together(const char* what, const Search& search, const Answer& want) {
  check(what, search(kThreads) == want);
  Answer got[kThreads];
  std::vector<std::thread> callers;
  for (Answer& mine : got) callers.emplace_back([&] { mine = search(kThreads); });
  for (std::thread& caller : callers) caller.join();
  for (const Answer& mine : got) check(what, mine == want);
}

// Rows in a file that goes when it is closed.
struct File {
  std::FILE* file = std::tmpfile();
  std::vector<uint32_t> sums;

  explicit File(const std::vector<uint8_t>& bytes) {
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fflush(file);
    for (size_t at = 0; at < bytes.size(); at += kPiece)
      sums.push_back(crc32(bytes.data() + at, std::min<int64_t>(kPiece, int64_t(bytes.size() - at))));
  }
  ~File() { std::fclose(file); }
  DiskRows rows(int64_t n, int64_t width) const { return {fileno(file), 0, n, width, kPiece, sums.data(), "rows"}; }
};

std::vector<uint8_t> nodes_of(const Rows& rows, const std::vector<uint32_t>& links) {
  std::vector<uint8_t> out(size_t(kRows / kPerBlock * kBytes));
  for (int64_t r = 0; r < kRows; r++) {
    uint8_t* at = out.data() + r / kPerBlock * kBytes + r % kPerBlock * kNode;
    std::memcpy(at, rows.values.data() + r * kDim, 4 * kDim);
    std::memcpy(at + 4 * kDim + 4, links.data() + r * kDegree, 4 * kDegree);
  }
  return out;
}

void search_graph(const char* what, const Finder& finder, const Rows& asked) {
  const float* given = asked.values.data();
  const Folded q = {kQueries, given, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, given};
  const std::vector<uint64_t> allow(size_t(kRows / 64), 0x5555555555555555ull);
  const int64_t matches = kRows / 2;
  for (const Filters& filters : {Filters{}, Filters{allow.data(), &matches, 0}}) {
    const Search search = [&](int threads) {
      Answer a;
      find_all(finder, q, kBest, kWidth, filters, threads, a.ids.data(), a.scores.data(), a.scored.data(), a.ways.data());
      return a;
    };
    const Answer want = search(1);
    check(what, want.scored[0] > 0 && want.ids[0] >= 0);
    together(what, search, want);
  }
}

// The rows are read again for every search: what was checked is checked by several threads at once.
void search_disk(const Rows& rows, const Rows& asked, const std::vector<uint32_t>& links) {
  const std::vector<uint8_t> bytes = nodes_of(rows, links);
  const Stored stored = rows.stored(kAffine8);
  const Folded q = {kQueries, asked.values.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  const auto search = [&](const DiskGraph& graph, int threads) {
    Answer a;
    graph.search(q, asked.values.data(), kBest, kWidth, nullptr, threads, a.ids.data(), a.scores.data(), a.scored.data());
    return a;
  };
  const Nodes nodes = {bytes.data(), nullptr, kBytes, kPerBlock, kNode, kFloat32, kDim, 4 * kDim, kDegree};
  const Answer want = search(DiskGraph(stored, nodes, kEntries, 4, 4, 0), 1);
  const File file(bytes);
  const DiskRows disk = file.rows(kRows / kPerBlock, kBytes);
  Nodes there = nodes;
  there.memory = nullptr, there.disk = &disk;
  const DiskGraph graph(stored, there, kEntries, 4, 4, 30);
  together("a walk on disk", [&](int threads) { return search(graph, threads); }, want);

  std::vector<uint8_t> damaged = bytes;
  for (size_t at = 0; at < damaged.size(); at += kBytes) damaged[at] ^= 1;
  File other(damaged);
  other.sums = file.sums;
  const DiskRows wrong = other.rows(kRows / kPerBlock, kBytes);
  there.disk = &wrong;
  const DiskGraph none(stored, there, kEntries, 4, 4, 0);
  bool found = false;
  try {
    search(none, kThreads);
  } catch (const DiskFault&) {
    found = true;
  }
  check("damage on disk", found);
}

void search_pipeline(const Rows& rows, const Rows& asked, const std::vector<uint32_t>& links) {
  const GraphFinder finder(rows.stored(kAffine8), {links.data(), kDegree, kEntries, 4}, {{10, 20, 40, 80}, {150, 250, 400, 600}});
  const auto* values = (const uint8_t*)rows.values.data();
  const File file(std::vector<uint8_t>(values, values + 4 * rows.values.size()));
  const DiskRows disk = file.rows(kRows, 4 * kDim);
  const Folding plain = {{kDim, kDim}, {}, {}, {}};
  const auto pipeline = [&](const DiskRows* from) {
    Rescoring again = {rows.stored(kF32), plain, true, false, 3, from, nullptr};
    if (from) again.stored.codes = nullptr;
    return Pipeline(finder, true, {kDim, kDim}, plain, {}, {again});
  };
  const auto search = [&](const Pipeline& by, int threads) {
    Answer a;
    a.sound = by.search(asked.values.data(), kQueries, kBest, kWidth, {}, threads, a.ids.data(), a.scores.data(),
                        a.scored.data(), a.rescored.data(), a.ways.data());
    return a;
  };
  const Pipeline memory = pipeline(nullptr), reading = pipeline(&disk);
  const Answer want = search(memory, 1);
  together("rescored in memory", [&](int threads) { return search(memory, threads); }, want);
  together("rescored from disk", [&](int threads) { return search(reading, threads); }, want);
}

}  // namespace

int main() {
  int count;
  const Choice* all = choices(&count);
  for (int i = 0; i < count; i++)
    if (all[i].runs) isa = all[i].kernels;
  const Rows rows(kRows), asked(kQueries);
  const std::vector<uint32_t> links = built(rows, 1);
  check("a graph", built(rows, kThreads) == links);
  check("a graph mended", mended(rows, links, kThreads) == mended(rows, links, 1));
  check("a graph of near rows", linked(rows, kThreads) == linked(rows, 1));
  const FilterCosts costs = {{10, 20, 40, 80}, {150, 250, 400, 600}};
  const Stored stored = rows.stored(kF32);
  search_graph("a walk", GraphFinder(stored, {links.data(), kDegree, kEntries, 4}, costs), asked);
  const Lined lined(rows);
  const std::vector<uint32_t> by_lines = built(rows, 1, &lined.rows);
  check("lines that tell rows apart", by_lines != links);
  check("a graph grown by lines", built(rows, kThreads, &lined.rows) == by_lines);
  search_graph("a walk by lines", PackedFinder(stored, {by_lines.data(), kDegree, kEntries, 4}, lined.lines, costs), asked);
  search_disk(rows, asked, links);
  search_pipeline(rows, asked, links);
  std::printf("%s: %d checks, %d differ\n", isa->name, done, bad);
  return bad ? 1 : 0;
}
