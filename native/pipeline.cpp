#include "pipeline.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "frontier.h"
#include "pool.h"
#include "tile.h"

namespace nearfield {
namespace {

float product(const Kernels& isa, const float* row, const float* x, int64_t d) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(row);
  float out;
  isa.dot_float(kFloat32, &at, 1, d, x, (d + kPad - 1) / kPad * kPad, 1, &out, 1);
  return out;
}

// x is padded with zeros to a multiple of kPad; so is out.
void apply(const Kernels& isa, const Affine& a, const float* x, std::vector<float>& out) {
  out.assign(size_t((a.out + kPad - 1) / kPad * kPad), 0.0f);
  if (a.matrix)
    for (int64_t i = 0; i < a.out; i++) out[size_t(i)] = product(isa, a.matrix + i * a.in, x, a.in);
  else if (a.diagonal)
    for (int64_t i = 0; i < a.out; i++) out[size_t(i)] = a.diagonal[i] * x[i];
  else
    std::copy_n(x, a.out, out.begin());
  if (a.offset)
    for (int64_t i = 0; i < a.out; i++) out[size_t(i)] += a.offset[i];
}

float value(const Kernels& isa, const Number& n, const float* x, int64_t d) {
  return n.constant + (n.vector ? product(isa, n.vector, x, d) : 0.0f);
}

// One folded query, and where it lies.
struct Weights {
  std::vector<float> weights;
  float constants[3], square;
  Folded folded;

  void fold(const Kernels& isa, const Folding& f, const float* x, bool square_needed) {
    apply(isa, f.weights, x, weights);
    for (int c = 0; c < 3; c++) constants[c] = value(isa, f.numbers[c], x, f.weights.in);
    if (square_needed) square = product(isa, x, x, f.weights.in);
    folded = {1, weights.data(), nullptr, nullptr, f.numbers[0].used ? &constants[0] : nullptr,
              f.numbers[1].used ? &constants[1] : nullptr, f.numbers[2].used ? &constants[2] : nullptr,
              square_needed ? &square : nullptr};
  }
};

}  // namespace

namespace {

constexpr int64_t kLook = 8;  // steps of a walk between two looks at where it stands

// Has rows read while the walk goes on: those that stand among the best and where the walk has been already, which
// seldom leave again.
class Ahead : public Watcher {
 public:
  Ahead(Reading& reading, int64_t most) : reading_(reading), most_(most) {}
  void look(const Frontier& best) override {
    if (++steps_ % kLook) return;
    const int64_t count = std::min(best.size(), most_);
    for (int64_t r = 0; r < count; r++)
      if (best.visited(r)) reading_.ask(best.row(r));
  }

 private:
  Reading& reading_;
  int64_t most_, steps_ = 0;
};

}  // namespace

struct Pipeline::Desk {
  std::unique_ptr<Scratch> scratch;
  std::vector<float> given, mapped;
  Weights weights;
  std::vector<int64_t> ids;
  std::vector<float> scores;
  Frontier best;
  struct Step {
    Weights weights;
    Work work;
    std::unique_ptr<Tile> tile;
    std::unique_ptr<Reading> reading;
  };
  std::vector<Step> steps;
};

Pipeline::Pipeline(const Finder& finder, bool unit, const Affine& map, const Folding& folding,
                   const Number& bias, std::vector<Rescoring> steps)
    : finder_(finder), unit_(unit), map_(map), folding_(folding), bias_(bias), steps_(std::move(steps)) {}
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

bool Pipeline::search(const float* q, int64_t m, int64_t k, int64_t effort, const uint64_t* allow, int threads,
                      int64_t* ids, float* scores, int64_t* scored, int64_t* rescored) const {
  const int jobs = int(std::clamp<int64_t>(m, 1, threads));
  std::atomic<bool> sound{true};
  parallel(jobs, [&](int j) {
    std::unique_ptr<Desk> desk = take();
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to && sound; i++)
      if (!one(q + i * map_.in, k, effort, allow, *desk, ids + i * k, scores + i * k, scored + i, rescored + i))
        sound = false;
    give(std::move(desk));
  });
  return sound;
}

bool Pipeline::one(const float* q, int64_t k, int64_t effort, const uint64_t* allow, Desk& desk, int64_t* ids,
                   float* scores, int64_t* scored, int64_t* rescored) const {
  const Kernels& isa = *finder_.stored().isa;
  const int64_t d = map_.in;
  desk.given.assign(size_t((d + kPad - 1) / kPad * kPad), 0.0f);
  std::copy_n(q, d, desk.given.begin());
  const float square = product(isa, desk.given.data(), desk.given.data(), d);
  // Lengths whose squares leave the range are measured with more care elsewhere.
  if (!(square < 1e30f) || (unit_ && !(square > 1e-30f))) return false;
  if (unit_) {
    const float length = std::sqrt(square);
    for (int64_t i = 0; i < d; i++) desk.given[size_t(i)] /= length;
  }
  apply(isa, map_, desk.given.data(), desk.mapped);
  desk.weights.fold(isa, folding_, desk.mapped.data(), finder_.stored().metric == kL2);
  int64_t wanted = k;
  for (const Rescoring& step : steps_) wanted = std::max(wanted, step.depth * k);
  wanted = std::min(wanted, finder_.stored().n);
  desk.ids.resize(size_t(wanted)), desk.scores.resize(size_t(wanted));
  Found found = {desk.ids.data(), desk.scores.data(), 0};
  std::optional<Ahead> ahead;
  for (size_t s = 0; s < steps_.size(); s++) {
    if (!desk.steps[s].reading) continue;
    desk.steps[s].reading->begin();
    if (!ahead) found.watcher = &ahead.emplace(*desk.steps[s].reading, std::min(steps_[s].depth * k, wanted));
  }
  finder_.find(desk.weights.folded, 0, wanted, effort, allow, !steps_.empty() && !steps_[0].residual, *desk.scratch, found);
  int64_t count = wanted;
  while (count > 0 && desk.ids[size_t(count) - 1] < 0) count--;
  *scored = found.scored, *rescored = 0;
  for (size_t s = 0; s < steps_.size(); s++) {
    *rescored += count;
    const Rescoring& step = steps_[s];
    Desk::Step& mine = desk.steps[s];
    int64_t keep = k;
    for (size_t later = s + 1; later < steps_.size(); later++) keep = std::max(keep, steps_[later].depth * k);
    mine.weights.fold(isa, step.folding, step.mapped ? desk.mapped.data() : desk.given.data(),
                      step.stored.metric == kL2 && !step.residual);
    mine.work.folded = mine.weights.folded;
    const DenseQueries one = dense_queries(mine.work, 0, 1);
    if (mine.reading) mine.reading->need(desk.ids.data(), count);
    desk.best.reset(keep);
    for (int64_t at = 0; at < count;) {
      mine.tile->clear();
      const float* base = desk.scores.data() + at;
      for (; at < count && !mine.tile->full(); at++) {
        const int64_t row = desk.ids[size_t(at)];
        if (mine.reading) {
          mine.tile->add(row, mine.reading->at(row));
        } else {
          if (step.checks) step.checks->touch(step.stored.codes, row * step.stored.format.width, step.stored.format.width);
          mine.tile->add(row);
          mine.tile->ask(row);
        }
      }
      const float* got = mine.tile->score(one, 0, 1, 0);
      for (int64_t r = 0; r < mine.tile->count(); r++) desk.best.insert(step.residual ? base[r] + got[r] : got[r], mine.tile->id(r));
    }
    count = desk.best.size();
    for (int64_t r = 0; r < count; r++) desk.ids[size_t(r)] = desk.best.row(r), desk.scores[size_t(r)] = desk.best.score(r);
  }
  if (count < k) return false;
  std::copy_n(desk.ids.begin(), k, ids);
  const float bias = bias_.used ? value(isa, bias_, desk.given.data(), d) : 0.0f;
  for (int64_t r = 0; r < k; r++) scores[r] = desk.scores[size_t(r)] + bias;
  return true;
}

}  // namespace nearfield
