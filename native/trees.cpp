#include "trees.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "candidates.h"
#include "pool.h"

namespace nearfield {
namespace {

constexpr int64_t kSome = 128;  // rows of a node that its direction is made of
constexpr int kRounds = 3;      // of two means

// Numbers as signed bytes beside their Side, as rows are kept.
Side rounded(const float* x, int64_t count, float lift, int8_t* out) {
  float largest = 0;
  for (int64_t j = 0; j < count; j++) largest = std::max(largest, std::fabs(x[j]));
  const float scale = largest > 1e-30f ? largest / 127 : 1.0f, to_bytes = 1 / scale;
  int64_t square = 0;
  for (int64_t j = 0; j < count; j++) {
    const int32_t value = std::clamp(int32_t(std::lrint(x[j] * to_bytes)), -127, 127);
    out[j] = int8_t(value);
    square += value * value;
  }
  return {scale, scale * scale * float(square) + lift * lift, lift, 0};
}

// The product of two, from the squared distance between them.
float product(const Side& a, const Side& b, float gap) { return 0.5f * (a.square + b.square - gap); }

// The mean of some rows, as floats and rounded.
struct Centre {
  std::vector<float> mean;
  std::vector<int8_t> bytes;
  float lift = 0;
  Side side = {};
  int64_t count = 0;

  explicit Centre(int64_t stride) : mean(size_t(stride)), bytes(size_t(stride)) {}
  void clear() { std::fill(mean.begin(), mean.end(), 0.0f), lift = 0, count = 0; }
  void add(const ByteRows& of, uint32_t row) {
    const int8_t* values = of.bytes + int64_t(row) * of.stride;
    const Side& own = of.sides[row];
    for (int64_t j = 0; j < of.stride; j++) mean[size_t(j)] += own.scale * float(values[j]);
    lift += own.lift, count++;
  }
  void settle() {
    for (float& x : mean) x /= float(count);
    lift /= float(count);
    side = rounded(mean.data(), int64_t(mean.size()), lift, bytes.data());
  }
};

// Grows one tree after another.
class Grower {
 public:
  Grower(const Kernels& isa, const ByteRows& of) : isa_(isa), of_(of), a_(of.stride), b_(of.stride) {}

  void grow(const TreePart& at, int64_t down, uint64_t seed, const NewTrees& out) {
    out_ = out, seed_ = seed;
    part(at.node, at.from, at.to, at.levels, down);
  }

  int64_t compared = 0;

 private:
  void part(int64_t node, int64_t from, int64_t to, int64_t levels, int64_t down) {
    if (levels == 0 || down == 0) return;
    const int64_t count = to - from, middle = from + count / 2;
    uint32_t* rows = out_.rows + from;
    direct(node, rows, count);
    const Side side = out_.sides[node];
    gaps_.resize(size_t(count)), order_.resize(size_t(count));
    measure(out_.normals + node * of_.stride, side, rows, count, gaps_.data());
    for (int64_t r = 0; r < count; r++)
      order_[size_t(r)] = {product(side, of_.sides[rows[r]], gaps_[size_t(r)]), rows[r]};
    std::nth_element(order_.begin(), order_.begin() + (middle - from), order_.end());
    float below = order_[0].gap;
    for (int64_t r = 1; r < middle - from; r++) below = std::max(below, order_[size_t(r)].gap);
    out_.thresholds[node] = 0.5f * (below + order_[size_t(middle - from)].gap);
    for (int64_t r = 0; r < count; r++) rows[r] = order_[size_t(r)].row;
    // Leaves hold their rows in order, so that they are read in order.
    if (levels == 1) std::sort(rows, rows + count / 2), std::sort(rows + count / 2, rows + count);
    part(2 * node + 1, from, middle, levels - 1, down - 1);
    part(2 * node + 2, middle, to, levels - 1, down - 1);
  }

  // The direction of a node: from one to the other mean of some of its rows, which begin at two rows that differ.
  void direct(int64_t node, const uint32_t* rows, int64_t count) {
    draw(mixed(seed_ ^ mixed(uint64_t(node))), rows, count);
    const int64_t some = int64_t(drawn_.size());
    near_.resize(size_t(some)), far_.resize(size_t(some));
    begin(a_, drawn_[0]);
    measure(a_.bytes.data(), a_.side, drawn_.data(), some, near_.data());
    const auto differs = std::find_if(near_.begin(), near_.end() - 1, [](float gap) { return gap > 0; });
    begin(b_, drawn_[size_t(differs - near_.begin())]);
    for (int round = 0; round < kRounds; round++) {
      measure(a_.bytes.data(), a_.side, drawn_.data(), some, near_.data());
      measure(b_.bytes.data(), b_.side, drawn_.data(), some, far_.data());
      const int64_t mine = std::inner_product(near_.begin(), near_.end(), far_.begin(), int64_t(0), std::plus<>(),
                                              [](float x, float y) { return int64_t(x < y); });
      if (mine == 0 || mine == some) break;
      a_.clear(), b_.clear();
      for (int64_t r = 0; r < some; r++) (near_[size_t(r)] < far_[size_t(r)] ? a_ : b_).add(of_, drawn_[size_t(r)]);
      a_.settle(), b_.settle();
    }
    for (int64_t j = 0; j < of_.stride; j++) a_.mean[size_t(j)] -= b_.mean[size_t(j)];
    out_.sides[node] = rounded(a_.mean.data(), of_.stride, a_.lift - b_.lift, out_.normals + node * of_.stride);
  }

  // Some rows, with repetition.
  void draw(uint64_t drawn, const uint32_t* rows, int64_t count) {
    drawn_.resize(size_t(std::min(count, kSome)));
    for (size_t r = 0; r < drawn_.size(); r++) {
      drawn = mixed(drawn);
      drawn_[r] = rows[drawn % uint64_t(count)];
    }
  }

  void begin(Centre& centre, uint32_t row) {
    centre.clear();
    centre.add(of_, row);
    centre.settle();
  }

  void measure(const int8_t* bytes, const Side& side, const uint32_t* rows, int64_t count, float* out) {
    isa_.byte_gaps(bytes, &side, of_.bytes, of_.sides, rows, count, of_.stride, out);
    compared += count;
  }

  const Kernels& isa_;
  const ByteRows& of_;
  Centre a_, b_;
  NewTrees out_ = {};
  uint64_t seed_ = 0;
  std::vector<uint32_t> drawn_;
  std::vector<float> near_, far_, gaps_;
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
  Search(const Stored& stored, const Trees& trees, int64_t dim, float length)
      : stored_(stored), trees_(trees), dim_(dim), length_(length), candidates_(stored) {
    query_.resize(size_t(dim)), bytes_.assign(size_t(trees.stride), 0);
  }

  void run(const Folded& one, int64_t k, int64_t most, const uint64_t* allow, bool rough, Found& out) {
    candidates_.begin(one, k, most, allow, rough);
    look(one.vectors);
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
    out.scored += planes_met_;
  }

 private:
  // Down to a leaf, each time to the nearer side; the other one waits.
  void fall(Waiting at) {
    while (at.levels > 0) {
      const int64_t place = at.tree * trees_.nodes() + at.node, middle = at.from + (at.to - at.from) / 2;
      const float side = beside(place);
      planes_met_++;
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

  // The query as bytes, under products as long as the rows.
  void look(const float* vector) {
    double square = 0;
    for (int64_t j = 0; j < dim_; j++) square += double(vector[j]) * vector[j];
    const float factor = stored_.metric == kL2 ? 1.0f : square > 0 ? float(length_ / std::sqrt(square)) : 0.0f;
    for (int64_t j = 0; j < dim_; j++) query_[size_t(j)] = factor * vector[j];
    side_ = rounded(query_.data(), dim_, 0, bytes_.data());
  }

  // How far from a plane the query lies.
  float beside(int64_t place) const {
    const uint32_t first = 0;
    const Side& plane = trees_.sides[place];
    float gap;
    stored_.isa->byte_gaps(bytes_.data(), &side_, trees_.normals + place * trees_.stride, &plane, &first, 1,
                           trees_.stride, &gap);
    return (product(side_, plane, gap) - trees_.thresholds[place]) / std::sqrt(plane.square);
  }

  void push(const Waiting& part) {
    waiting_.push_back(part);
    std::push_heap(waiting_.begin(), waiting_.end());
  }

  const Stored& stored_;
  const Trees& trees_;
  int64_t dim_;
  float length_;
  Candidates candidates_;
  std::vector<float> query_;
  std::vector<int8_t> bytes_;
  Side side_ = {};
  int64_t planes_met_ = 0;
  std::vector<Waiting> waiting_;
};

}  // namespace

int64_t grow_trees(const Kernels& isa, const ByteRows& of, int64_t trees, int64_t levels, uint64_t seed, int64_t first,
                   const TreePart& part, int64_t down, int threads, const NewTrees& out) {
  const int jobs = int(std::clamp<int64_t>(trees, 1, threads));
  const int64_t nodes = (int64_t(1) << levels) - 1;
  std::vector<int64_t> compared(size_t(jobs), 0);
  parallel(jobs, [&](int j) {
    Grower grower(isa, of);
    for (int64_t t = j; t < trees; t += jobs)
      grower.grow(part, down, mixed(seed + uint64_t(first + t)),
                  {out.rows + t * of.n, out.normals + t * nodes * of.stride, out.sides + t * nodes,
                   out.thresholds + t * nodes});
    compared[size_t(j)] = grower.compared;
  });
  return std::accumulate(compared.begin(), compared.end(), int64_t(0));
}

std::unique_ptr<Scratch> TreesFinder::scratch() const {
  return std::make_unique<Search>(stored_, trees_, dim_, length_);
}

void TreesFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                       Scratch& scratch, Found& out) const {
  Folded one = one_of(q, stored_.format, i);
  one.vectors = q.vectors + i * dim_;
  static_cast<Search&>(scratch).run(one, k, effort, allow, rough, out);
}

}  // namespace nearfield
