#include "hashes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "candidates.h"

namespace nearfield {
namespace {

int32_t slot_of(bool signs, float projection) {
  if (signs) return projection >= 0;
  return int32_t(std::floor(std::clamp(projection, -1e9f, 1e9f)));
}

// Signs side by side; of other slots, a number that mixes them all.
uint32_t key_of(const Slots& slots, const int32_t* slot) {
  uint64_t key = 0;
  for (int64_t b = 0; b < slots.bits; b++)
    key = slots.signs ? key << 1 | uint64_t(slot[b]) : mixed(key ^ uint32_t(slot[b]));
  return uint32_t(slots.signs ? key : key >> 32);
}

// A step of one projection to the slot beside it, and what it costs: the squared distance to the border.
struct Step {
  float cost;
  int32_t at, by;
  bool operator<(const Step& other) const {
    if (cost != other.cost) return cost < other.cost;
    return at != other.at ? at < other.at : by < other.by;
  }
};

// A set of steps in one table, as bits over its steps in ascending order of cost.
struct Probe {
  float cost;
  int64_t table;
  uint64_t steps;
  bool operator<(const Probe& other) const {  // the greatest is taken first
    if (cost != other.cost) return cost > other.cost;
    return table != other.table ? table > other.table : steps > other.steps;
  }
};

class Probing : public Scratch {
 public:
  Probing(const Stored& stored, const Hashes& hashes)
      : stored_(stored), h_(hashes), s_(hashes.slots), candidates_(stored) {
    const int64_t all = s_.tables * s_.bits, dim = stored.format.dim;
    stride_ = (dim + kPad - 1) / kPad * kPad;
    padded_.assign(size_t(stride_), 0.0f);
    values_.resize(size_t(all) + kBlock), slots_.resize(size_t(all)), steps_.resize(size_t(2 * all));
    for (int64_t d = 0; d < all; d++) at_.push_back(reinterpret_cast<const uint8_t*>(h_.directions + d * dim));
  }

  void run(const Folded& one, int64_t k, int64_t most, const uint64_t* allow, bool rough, Found& out) {
    candidates_.begin(one, k, most, allow, rough);
    project(one);
    probes_.clear();
    for (int64_t t = 0; t < s_.tables; t++) begin(t);
    for (int64_t looks = std::max(most, k) + s_.tables; !probes_.empty() && looks > 0 && !candidates_.full();) {
      std::pop_heap(probes_.begin(), probes_.end());
      const Probe probe = probes_.back();
      probes_.pop_back();
      looks -= look(probe);
      follow(probe);
    }
    candidates_.end(k, out);
  }

 private:
  int64_t per_table() const { return s_.signs ? s_.bits : 2 * s_.bits; }
  const Step* steps(int64_t table) const { return steps_.data() + table * per_table(); }

  void project(const Folded& one) {
    const int64_t all = s_.tables * s_.bits, dim = stored_.format.dim;
    std::copy_n(one.weights, dim, padded_.begin());
    stored_.isa->dot_float(kFloat32, at_.data(), all, dim, padded_.data(), stride_, 1, values_.data(), all);
    for (int64_t d = 0; d < all; d++) {
      values_[size_t(d)] += h_.offsets[d];
      slots_[size_t(d)] = slot_of(s_.signs, values_[size_t(d)]);
    }
  }

  // The steps of a table in order, and the probe of none of them.
  void begin(int64_t table) {
    Step* steps = steps_.data() + table * per_table();
    for (int64_t b = 0; b < s_.bits; b++) {
      const float value = values_[size_t(table * s_.bits + b)];
      const int32_t slot = slots_[size_t(table * s_.bits + b)];
      if (s_.signs) {
        steps[b] = {value * value, int32_t(b), slot ? -1 : 1};
        continue;
      }
      const float above = value - float(slot);
      steps[2 * b] = {above * above, int32_t(b), -1};
      steps[2 * b + 1] = {(1 - above) * (1 - above), int32_t(b), 1};
    }
    std::sort(steps, steps + per_table());
    push({0, table, 0});
  }

  // Adds the rows of a bucket; returns how many were looked at: none where one projection takes both of its steps.
  int64_t look(const Probe& probe) {
    int32_t slot[32];
    uint32_t moved = 0;
    std::copy_n(slots_.data() + probe.table * s_.bits, s_.bits, slot);
    for (uint64_t left = probe.steps; left; left &= left - 1) {
      const Step& step = steps(probe.table)[std::countr_zero(left)];
      if (moved >> step.at & 1) return 0;
      moved |= 1u << step.at;
      slot[step.at] += step.by;
    }
    const uint32_t key = key_of(s_, slot);
    const uint32_t* keys = h_.keys + probe.table * stored_.n;
    const uint32_t* rows = h_.rows + probe.table * stored_.n;
    for (int64_t r = std::lower_bound(keys, keys + stored_.n, key) - keys;
         r < stored_.n && keys[r] == key && !candidates_.full(); r++)
      candidates_.add(rows[r]);
    return 1;
  }

  // The sets that come after one: with its last step moved on by one place, and with the next one as well.
  void follow(const Probe& probe) {
    const Step* steps = this->steps(probe.table);
    const int64_t last = probe.steps ? 63 - std::countl_zero(probe.steps) : -1;
    if (last + 1 >= per_table()) return;
    const uint64_t next = uint64_t(1) << (last + 1);
    push({probe.cost + steps[last + 1].cost, probe.table, probe.steps | next});
    if (last < 0) return;
    push({probe.cost - steps[last].cost + steps[last + 1].cost, probe.table, (probe.steps ^ next >> 1) | next});
  }

  void push(const Probe& probe) {
    probes_.push_back(probe);
    std::push_heap(probes_.begin(), probes_.end());
  }

  const Stored& stored_;
  const Hashes& h_;
  const Slots s_;
  Candidates candidates_;
  int64_t stride_;
  std::vector<const uint8_t*> at_;
  std::vector<float> padded_, values_;
  std::vector<int32_t> slots_;
  std::vector<Step> steps_;
  std::vector<Probe> probes_;
};

}  // namespace

void keys_of(const Slots& slots, const float* projections, uint32_t* keys) {
  int32_t slot[32];
  for (int64_t t = 0; t < slots.tables; t++) {
    for (int64_t b = 0; b < slots.bits; b++) slot[b] = slot_of(slots.signs, projections[t * slots.bits + b]);
    keys[t] = key_of(slots, slot);
  }
}

std::unique_ptr<Scratch> HashFinder::scratch() const { return std::make_unique<Probing>(stored_, hashes_); }

void HashFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                      Scratch& scratch, Found& out) const {
  static_cast<Probing&>(scratch).run(one_of(q, stored_.format, i), k, effort, allow, rough, out);
}

}  // namespace nearfield
