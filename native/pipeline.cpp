#include "pipeline.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>

#include "best.h"
#include "pool.h"
#include "tile.h"

namespace nearfield {
namespace {

constexpr int64_t kAskedAhead = 8;  // rows of table layouts whose bytes are asked for in advance

float product(const Kernels& isa, const float* row, const float* x, int64_t d) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(row);
  float out;
  isa.dot_float(kFloat32, &at, 1, d, x, (d + kPad - 1) / kPad * kPad, 1, &out, 1);
  return out;
}

// The products of many rows together, which are read from several places at once.
void products(const Kernels& isa, const Affine& a, const float* x, float* out) {
  constexpr int64_t together = 64;
  const uint8_t* rows[together];
  for (int64_t i = 0; i < a.out; i += together) {
    const int64_t count = std::min(together, a.out - i);
    for (int64_t r = 0; r < count; r++) rows[r] = reinterpret_cast<const uint8_t*>(a.matrix + (i + r) * a.in);
    isa.dot_float(kFloat32, rows, count, a.in, x, (a.in + kPad - 1) / kPad * kPad, 1, out + i, count);
  }
}

int64_t padded(int64_t d) { return (d + kPad - 1) / kPad * kPad; }

// x is padded with zeros to a multiple of kPad; so is what is returned: x itself, or what `out` then holds.
const float* apply(const Kernels& isa, const Affine& a, const float* x, std::vector<float>& out) {
  if (!a.matrix && !a.diagonal && !a.offset) return x;
  out.resize(size_t(padded(a.out)));
  if (a.matrix)
    products(isa, a, x, out.data());
  else
    for (int64_t i = 0; i < a.out; i++) out[size_t(i)] = a.diagonal ? a.diagonal[i] * x[i] : x[i];
  if (a.offset)
    for (int64_t i = 0; i < a.out; i++) out[size_t(i)] += a.offset[i];
  return out.data();
}

float value(const Kernels& isa, const Number& n, const float* x, int64_t d) {
  return n.constant + (n.vector ? product(isa, n.vector, x, d) : 0.0f);
}

// One folded query, and where it lies.
struct Weights {
  std::vector<float> weights, nibbles, bytes;
  float constants[3], square;
  Folded folded;

  void fold(const Kernels& isa, const Folding& f, const float* x, bool square_needed) {
    const float* folding = apply(isa, f.weights, x, weights);
    for (int c = 0; c < 3; c++) constants[c] = value(isa, f.numbers[c], x, f.weights.in);
    if (square_needed) square = product(isa, x, x, f.weights.in);
    tables(isa, f.nibbles, 16, folding, nibbles), tables(isa, f.bytes, 256, folding, bytes);
    folded = {1, folding, nibbles.data(), bytes.data(), f.numbers[0].used ? &constants[0] : nullptr,
              f.numbers[1].used ? &constants[1] : nullptr, f.numbers[2].used ? &constants[2] : nullptr,
              square_needed ? &square : nullptr, x};
  }

 private:
  void tables(const Kernels& isa, const Pieces& p, int64_t entries, const float* folding, std::vector<float>& out) {
    out.resize(size_t(p.tables * entries));
    if (p.tables) isa.fold_tables(folding, p.sources, p.values, p.count, p.tables, entries, out.data());
  }
};

// The bytes of rows: read from disk, or mapped and checked as they are touched.
struct Bytes {
  const Rescoring& step;
  const Reading* reading;

  const uint8_t* at(int64_t row) const {
    if (reading) return reading->at(row);
    const int64_t width = step.stored.format.width;
    if (step.checks) step.checks->touch(step.stored.codes, row * width, width);
    return step.stored.codes + row * width;
  }
  // Asks for bytes that are wanted soon.
  void ask(int64_t row) const {
    if (reading) return;
    const int64_t width = step.stored.format.width;
    const uint8_t* codes = step.stored.codes + row * width;
    for (int64_t b = 0; b < width; b += 64) prefetch(codes + b);
    prefetch(codes + width - 1);
  }
};

// Scores of rows of a float or affine layout: offer(which of them, score).
template <class Offer>
void score_tiles(const Work& w, const Bytes& bytes, const int64_t* rows, int64_t count, DenseQueries& q, Tile& tile,
                 const Offer& offer) {
  dense_queries(w, 0, 1, false, q);
  for (int64_t at = 0; at < count;) {
    const int64_t from = at;
    tile.clear();
    for (; at < count && !tile.full(); at++) {
      tile.add(rows[at], bytes.at(rows[at]));
      bytes.ask(rows[at]);
    }
    const float* got = tile.score(q, 0, 1, 0);
    for (int64_t r = 0; r < tile.count(); r++) offer(from + r, got[r]);
  }
}

// The same of a table layout, whose codes lie row by row.
template <class Offer>
void score_coded(const Work& w, const Bytes& bytes, const int64_t* rows, int64_t count, TableQueries& q,
                 const Offer& offer) {
  const Format& f = *w.format;
  table_queries(w, 0, 1, q);
  const Offsets o = offsets(w.folded, 0);
  for (int64_t at = 0; at < std::min(kAskedAhead, count); at++) bytes.ask(rows[at]);
  for (int64_t at = 0; at < count; at++) {
    if (at + kAskedAhead < count) bytes.ask(rows[at + kAskedAhead]);
    const uint8_t* codes = bytes.at(rows[at]);
    float scale, shift, score;
    if (f.scale.kind) w.isa->constants(&f.scale, &codes, 1, &scale);
    if (f.shift.kind) w.isa->constants(&f.shift, &codes, 1, &shift);
    const RowTerms terms = {f.scale.kind ? &scale : nullptr, f.shift.kind ? &shift : nullptr,
                            w.terms ? w.terms + rows[at] : nullptr, w.metric};
    const uint32_t acc = w.isa->table_row(&f, codes, &q.each[0]);
    w.isa->table_scores(&acc, 1, &q.each[0], &terms, &o, &score);
    offer(at, score);
  }
}

// Has rows read while the search goes on.
class Ahead : public Watcher {
 public:
  Ahead(Reading& reading, int64_t most, const uint64_t* allow) : Watcher(most, allow), reading_(reading) {}

 private:
  void ask(int64_t row) override { reading_.ask(row); }

  Reading& reading_;
};

}  // namespace

struct Pipeline::Desk {
  std::unique_ptr<Scratch> scratch;
  std::vector<float> given, mapped;
  const float* moved;  // the query under the maps
  Weights weights;
  std::vector<int64_t> ids;
  std::vector<float> scores;
  Best best;
  struct Step {
    Weights weights;
    Work work;
    std::unique_ptr<Tile> tile;
    std::unique_ptr<Reading> reading;
    DenseQueries dense;
    TableQueries table;
  };
  std::vector<Step> steps;
};

Pipeline::Pipeline(const Finder& finder, bool unit, const Affine& map, const Folding& folding,
                   const Number& bias, std::vector<Rescoring> steps, const Filters& live)
    : finder_(finder), unit_(unit), map_(map), folding_(folding), bias_(bias), steps_(std::move(steps)), live_(live) {}
Pipeline::~Pipeline() = default;

std::unique_ptr<Pipeline::Desk> Pipeline::take() const {
  {
    const std::lock_guard<std::mutex> held(lock_);
    if (!desks_.empty()) {
      std::unique_ptr<Desk> desk = std::move(desks_.back());
      desks_.pop_back();
      return desk;
    }
  }
  auto desk = std::make_unique<Desk>();
  desk->scratch = finder_.scratch();
  desk->steps.resize(steps_.size());
  for (size_t s = 0; s < steps_.size(); s++) {
    desk->steps[s].work = steps_[s].stored.work({});
    desk->steps[s].tile = std::make_unique<Tile>(desk->steps[s].work, 1, 256);
    if (steps_[s].disk) desk->steps[s].reading = std::make_unique<Reading>(*steps_[s].disk);
  }
  return desk;
}

void Pipeline::give(std::unique_ptr<Desk> desk) const {
  const std::lock_guard<std::mutex> held(lock_);
  desks_.push_back(std::move(desk));
}

bool Pipeline::search(const float* q, int64_t m, int64_t k, int64_t effort, const Filters& filters, int threads,
                      int64_t* ids, float* scores, int64_t* scored, int64_t* rescored, int64_t* ways) const {
  const int jobs = int(std::clamp<int64_t>(m, 1, threads));
  const int64_t n = finder_.stored().n;
  std::atomic<bool> sound{true};
  parallel(jobs, [&](int j) {
    std::unique_ptr<Desk> desk = take();
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to; i++) {
      Found out = {ids + i * k, scores + i * k, 0};
      if (filters.bits) out.matches = filters.matching(i);
      // A filter that lets all through is none, whatever those of other queries are.
      const uint64_t* allow = out.matches == n ? nullptr : filters.of(i);
      const bool answered = one(q + i * map_.in, k, effort, allow, *desk, out, rescored + i);
      scored[i] = answered ? out.scored : -1, ways[i] = out.way;
      if (!answered) sound = false;
    }
    give(std::move(desk));
  });
  return sound;
}

bool Pipeline::one(const float* q, int64_t k, int64_t effort, const uint64_t* allow, Desk& desk, Found& out,
                   int64_t* rescored) const {
  const Kernels& isa = *finder_.stored().isa;
  const int64_t d = map_.in;
  desk.given.resize(size_t(padded(d)));
  std::copy_n(q, d, desk.given.begin());
  const float square = product(isa, desk.given.data(), desk.given.data(), d);
  // Lengths whose squares leave the range are measured with more care elsewhere.
  if (!(square < 1e30f) || (unit_ && !(square > 1e-30f))) return false;
  if (unit_) {
    const float length = std::sqrt(square);
    const float share = 1.0f / length;
    for (int64_t i = 0; i < d; i++) desk.given[size_t(i)] *= share;
  }
  desk.moved = apply(isa, map_, desk.given.data(), desk.mapped);
  desk.weights.fold(isa, folding_, desk.moved, finder_.stored().metric == kL2);
  const int64_t n = finder_.stored().n, wanted = std::min(wanted_after(0, k), n);
  const int64_t matches = allow ? out.matches : live_.bits ? live_.matching(0) : n;
  desk.ids.resize(size_t(wanted)), desk.scores.resize(size_t(wanted));
  Found found = {desk.ids.data(), desk.scores.data(), 0, steps_.empty()};
  found.matches = out.matches;
  std::optional<Ahead> ahead;
  for (size_t s = 0; s < steps_.size(); s++) {
    if (!desk.steps[s].reading) continue;
    desk.steps[s].reading->begin();
    if (!ahead) found.watcher = &ahead.emplace(*desk.steps[s].reading, std::min(steps_[s].depth * k, wanted), allow);
  }
  finder_.find(desk.weights.folded, 0, wanted, effort, allow, !steps_.empty() && !steps_[0].residual, *desk.scratch, found);
  finder_.complete(desk.weights.folded, 0, wanted, allow ? allow : live_.bits, matches, found);
  int64_t count = wanted;
  while (count > 0 && desk.ids[size_t(count) - 1] < 0) count--;
  out.scored = found.scored, out.way = found.way, *rescored = 0;
  for (size_t s = 0; s < steps_.size(); s++) {
    *rescored += count;
    count = rescore(s, count, wanted_after(s + 1, k), desk);
  }
  if (count < std::min(k, matches)) return false;
  count = std::min(count, k);
  const uint32_t* order = finder_.order();
  for (int64_t r = 0; r < count; r++) out.ids[r] = order ? order[desk.ids[size_t(r)]] : desk.ids[size_t(r)];
  std::fill(out.ids + count, out.ids + k, -1);
  const float bias = bias_.used ? value(isa, bias_, desk.given.data(), d) : 0.0f;
  for (int64_t r = 0; r < count; r++) out.scores[r] = desk.scores[size_t(r)] + bias;
  std::fill(out.scores + count, out.scores + k, -std::numeric_limits<float>::infinity());
  return true;
}

// How many rows a step leaves to those from `step` on.
int64_t Pipeline::wanted_after(size_t step, int64_t k) const {
  int64_t wanted = k;
  for (; step < steps_.size(); step++) wanted = std::max(wanted, steps_[step].depth * k);
  return wanted;
}

// Scores the rows on the desk again, and leaves the best; returns how many.
int64_t Pipeline::rescore(size_t s, int64_t count, int64_t keep, Desk& desk) const {
  const Rescoring& step = steps_[s];
  Desk::Step& mine = desk.steps[s];
  mine.weights.fold(*finder_.stored().isa, step.folding, step.mapped ? desk.moved : desk.given.data(),
                    step.stored.metric == kL2 && !step.residual);
  mine.work.folded = mine.weights.folded;
  desk.best.reset(keep, finder_.order());
  const auto offer = [&](int64_t at, float score) {
    desk.best.push(step.residual ? desk.scores[size_t(at)] + score : score, desk.ids[size_t(at)]);
  };
  const Bytes bytes = {step, mine.reading.get()};
  if (mine.reading) mine.reading->need(desk.ids.data(), count);
  if (step.stored.format.layout == kTables)
    score_coded(mine.work, bytes, desk.ids.data(), count, mine.table, offer);
  else
    score_tiles(mine.work, bytes, desk.ids.data(), count, mine.dense, *mine.tile, offer);
  desk.best.finish(s + 1 == steps_.size());
  for (int64_t r = 0; r < desk.best.size(); r++)
    desk.ids[size_t(r)] = desk.best.place(r), desk.scores[size_t(r)] = desk.best.score(r);
  return desk.best.size();
}

}  // namespace nearfield
