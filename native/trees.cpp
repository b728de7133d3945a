#include "trees.h"

#include <algorithm>
#include <cmath>

#include "candidates.h"
#include "pool.h"

namespace nearfield {
namespace {

constexpr int kDraws = 8;  // how often a pair is drawn until its rows differ

// Grows one tree after another.
class Grower {
 public:
  Grower(const Kernels& isa, const ByteRows& of) : of_(of), gaps_(isa, of) {}

  void grow(const TreePart& at, int64_t down, uint64_t seed, uint32_t* rows, uint32_t* pairs, float* planes) {
    rows_ = rows, pairs_ = pairs, planes_ = planes, seed_ = seed;
    part(at.node, at.from, at.to, at.levels, down);
  }

 private:
  void part(int64_t node, int64_t from, int64_t to, int64_t levels, int64_t down) {
    if (levels == 0 || down == 0) return;
    const int64_t count = to - from, middle = from + count / 2;
    const float apart = draw(node, from, count);
    const uint32_t* pair = pairs_ + 2 * node;
    near_.resize(size_t(count)), far_.resize(size_t(count)), order_.resize(size_t(count));
    gaps_.from(pair[0]), gaps_.to(rows_ + from, count, near_.data());
    gaps_.from(pair[1]), gaps_.to(rows_ + from, count, far_.data());
    for (int64_t r = 0; r < count; r++) order_[size_t(r)] = {far_[size_t(r)] - near_[size_t(r)], rows_[from + r]};
    std::nth_element(order_.begin(), order_.begin() + (middle - from), order_.end());
    float below = order_[size_t(middle - from)].gap;
    for (int64_t r = 0; r < middle - from; r++) below = r ? std::max(below, order_[size_t(r)].gap) : order_[0].gap;
    planes_[2 * node] = 0.5f * (below + order_[size_t(middle - from)].gap);
    planes_[2 * node + 1] = apart > 0 ? 0.5f / std::sqrt(apart) : 0.0f;
    for (int64_t r = 0; r < count; r++) rows_[from + r] = order_[size_t(r)].row;
    // Leaves hold their rows in order, so that they are read in order.
    if (levels == 1) std::sort(rows_ + from, rows_ + middle), std::sort(rows_ + middle, rows_ + to);
    part(2 * node + 1, from, middle, levels - 1, down - 1);
    part(2 * node + 2, middle, to, levels - 1, down - 1);
  }

  // Two rows that differ, where some draws find them; returns their squared distance.
  float draw(int64_t node, int64_t from, int64_t count) {
    float apart = 0;
    uint64_t drawn = mixed(seed_ ^ mixed(uint64_t(node)));
    uint32_t* pair = pairs_ + 2 * node;
    for (int t = 0; t < kDraws && !(apart > 0); t++) {
      for (int end = 0; end < 2; end++) {
        drawn = mixed(drawn);
        pair[end] = rows_[from + int64_t(drawn % uint64_t(count))];
      }
      gaps_.from(pair[0]);
      gaps_.to(pair + 1, 1, &apart);
    }
    return apart;
  }

  const ByteRows& of_;
  Gaps gaps_;
  uint32_t* rows_ = nullptr;
  uint32_t* pairs_ = nullptr;
  float* planes_ = nullptr;
  uint64_t seed_ = 0;
  std::vector<float> near_, far_;
  std::vector<Near> order_;
};

// A part of a tree that waits, and how far beyond a plane the query would have to lie for it.
struct Waiting {
  float beyond;
  int64_t tree, node, from, to, levels;
  bool operator<(const Waiting& other) const {  // the greatest is taken first
    if (beyond != other.beyond) return beyond > other.beyond;
    return tree != other.tree ? tree > other.tree : node > other.node;
  }
};

class Search : public Scratch {
 public:
  Search(const Stored& stored, const Trees& trees, const float* unfold, float length)
      : stored_(stored), trees_(trees), unfold_(unfold), length_(length), candidates_(stored) {}

  void run(const Folded& one, int64_t k, int64_t most, const uint64_t* allow, bool rough, Found& out) {
    candidates_.begin(one, k, most, allow, rough);
    factor_ = factor(one);
    planes_met_ = 0;
    waiting_.clear();
    for (int64_t t = 0; t < trees_.trees; t++) push({0, t, 0, 0, trees_.n, trees_.levels});
    while (!waiting_.empty() && !candidates_.full()) {
      std::pop_heap(waiting_.begin(), waiting_.end());
      const Waiting at = waiting_.back();
      waiting_.pop_back();
      fall(at);
    }
    candidates_.end(k, out);
    out.scored += 2 * planes_met_;
  }

 private:
  // Down to a leaf, each time to the nearer side; the other one waits.
  void fall(Waiting at) {
    while (at.levels > 0) {
      const int64_t place = at.tree * trees_.nodes() + at.node, middle = at.from + (at.to - at.from) / 2;
      float s[2];
      candidates_.score(trees_.pairs + 2 * place, 2, s);
      planes_met_++;
      const float* plane = trees_.planes + 2 * place;
      const float side = (factor_ * (s[0] - s[1]) - plane[0]) * plane[1];
      const bool upper = side >= 0;
      const float beyond = std::isfinite(side) ? std::max(at.beyond, std::fabs(side)) : at.beyond;
      const Waiting low = {upper ? beyond : at.beyond, at.tree, 2 * at.node + 1, at.from, middle, at.levels - 1};
      const Waiting high = {upper ? at.beyond : beyond, at.tree, 2 * at.node + 2, middle, at.to, at.levels - 1};
      push(upper ? low : high);
      at = upper ? high : low;
    }
    const uint32_t* rows = trees_.rows + at.tree * trees_.n;
    for (int64_t r = at.from; r < at.to && !candidates_.full(); r++) candidates_.add(rows[r]);
  }

  // What a difference of scores is multiplied by to be one of squared distances, of a query as long as the rows.
  float factor(const Folded& one) const {
    if (stored_.metric == kL2) return 1;
    double square = 0;
    for (int64_t j = 0; j < stored_.format.dim; j++) {
      const double x = double(one.weights[j]) * unfold_[j];
      square += x * x;
    }
    return square > 0 ? float(2 * length_ / std::sqrt(square)) : 0.0f;
  }

  void push(const Waiting& part) {
    waiting_.push_back(part);
    std::push_heap(waiting_.begin(), waiting_.end());
  }

  const Stored& stored_;
  const Trees& trees_;
  const float* unfold_;
  float length_, factor_ = 1;
  Candidates candidates_;
  int64_t planes_met_ = 0;
  std::vector<Waiting> waiting_;
};

}  // namespace

void grow_trees(const Kernels& isa, const ByteRows& of, const Trees& shape, uint64_t seed, int64_t first,
                const TreePart& part, int64_t down, int threads, uint32_t* rows, uint32_t* pairs, float* planes) {
  const int jobs = int(std::clamp<int64_t>(shape.trees, 1, threads));
  parallel(jobs, [&](int j) {
    Grower grower(isa, of);
    for (int64_t t = j; t < shape.trees; t += jobs)
      grower.grow(part, down, mixed(seed + uint64_t(first + t)), rows + t * shape.n, pairs + t * shape.nodes() * 2,
                  planes + t * shape.nodes() * 2);
  });
}

std::unique_ptr<Scratch> TreesFinder::scratch() const {
  return std::make_unique<Search>(stored_, trees_, unfold_, length_);
}

void TreesFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                       Scratch& scratch, Found& out) const {
  static_cast<Search&>(scratch).run(one_of(q, stored_.format, i), k, effort, allow, rough, out);
}

}  // namespace nearfield
