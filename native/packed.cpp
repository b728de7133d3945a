#include "packed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "filtered.h"
#include "frontier.h"
#include "tile.h"
#include "walk.h"

namespace nearfield {
namespace {

constexpr int64_t kBest = 4, kBestLeast = 100;  // so many rows for each that is wanted are scored by their codes
constexpr int32_t kZero = 64;                   // what stands for zero in the bytes of a query
constexpr int64_t kFirst = 8;                   // so many entries are walked from
constexpr double kLineCost = 1.6;               // of a line in a walk, in rows of 196 bytes in a scan

// The largest size of numbers, found in four runs that need not wait for each other.
float largest_of(const float* x, int64_t n) {
  float most[4] = {};
  for (int64_t i = 0; i < n; i++) most[i & 3] = std::max(most[i & 3], std::fabs(x[i]));
  return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

// The nearest whole number from -128 to 127: added to 1.5 * 2^23, a float holds it in its lowest bits.
int8_t nearest_byte(float x) { return int8_t(std::bit_cast<uint32_t>(x + 12582912.0f) & 255); }

// What one thread needs for one walk after another.
class Walker : public Scratch {
 public:
  Walker(const Stored& stored, const Links& links, const Lines& lines, const PaddedAxes& axes)
      : links_(links), lines_(lines), axes_(axes), w_(stored.work({})), tile_(w_, 1, 64),
        walk_(*stored.isa, links.to, links.degree, stored.n, lines.rows, lines.width, std::max(links.degree, links.n_entries)) {
    given_.resize(size_t(axes.stride));
    products_.resize(axes.sums.size());
    floats_.resize(size_t(4 * lines.width)), weights_.resize(floats_.size());
  }

  void run(const Folded& one, int64_t k, int64_t width, const uint64_t* allow, Found& out) {
    w_.folded = one, w_.allow = allow;
    const int64_t best = std::max(k, std::min(width, std::max(kBest * k, kBestLeast)));
    weigh(one.vectors);
    walk_.begin(width), found_.reset(allow ? best : 1);
    count_ = 0;
    walk_.meet(links_.entries, links_.n_entries);
    score();
    begin_at_best();
    walk_.take();
    for (int64_t visited = 0; walk_.next(); visited++) {
      if (!allow && visited < best) ask_codes(walk_.visited());
      score();
      walk_.take();
      if (out.watcher) out.watcher->look(walk_);
    }
    if (!allow) return refine(walk_, best, k, out);
    // Where too few of the frontier match, those that were met on the way are not the best.
    int64_t near = 0;
    for (int64_t r = 0; r < walk_.size() && near < k; r++) near += has(allow, walk_.row(r));
    if (near < k) found_.reset(1);
    refine(found_, best, k, out);
  }

 private:
  // The weights of the query's digits, as bytes.
  void weigh(const float* given) {
    const Axes& a = lines_.axes;
    const float most = largest_of(given, a.dim);
    const float unit = most > 0.0f && most < 1e30f ? most / float(kZero - 1) : 1.0f;
    for (int64_t j = 0; j < a.dim; j++) given_[size_t(j)] = uint8_t(float(kZero) + given[j] / unit + 0.5f);
    w_.isa->axis_dots(axes_.rows.data(), int64_t(axes_.sums.size()), axes_.stride, given_.data(), products_.data());
    const int64_t bytes = lines_.width - kLineEnd;
    double start = 0.0;
    int64_t at = 0;
    for (int64_t i = 0; i < a.count; i++) {
      const float product = float(products_[size_t(i)] - kZero * axes_.sums[size_t(i)]) * (unit * a.scales[i]);
      float weight = (product - a.offsets[i]) * a.steps[i];
      const float levels = float(1 << 2 * a.digits[i]);
      start -= double(weight) * (levels - 1.0f) / 2;
      for (int d = 0; d < a.digits[i]; d++, at++, weight *= 4.0f)
        floats_[size_t(at / bytes * lines_.width + at % bytes)] = weight;
    }
    const float largest = largest_of(floats_.data(), int64_t(floats_.size()));
    const float to = largest > 0.0f && largest < 1e30f ? 127.0f / largest : 0.0f;
    for (size_t i = 0; i < floats_.size(); i++) weights_[i] = nearest_byte(floats_[i] * to);
    line_ = {weights_.data(), lines_.width, largest / 127.0f, float(start), a.of_less};
  }

  // Scores the rows just met.
  void score() {
    const int64_t n = walk_.count();
    w_.isa->line_scores(lines_.rows, walk_.met(), n, &line_, walk_.scores());
    count_ += n;
    if (!w_.allow) return;
    for (int64_t r = 0; r < n; r++) {
      const uint32_t row = walk_.met()[r];
      if (has(w_.allow, row)) found_.insert(walk_.scores()[r], row);
    }
  }

  // Of the entries only the best enter the frontier.
  void begin_at_best() {
    const int64_t n = walk_.count();
    float* scores = walk_.scores();
    if (n <= kFirst) return;
    sorted_.assign(scores, scores + n);
    std::nth_element(sorted_.begin(), sorted_.begin() + kFirst, sorted_.end(), std::greater<float>());
    for (int64_t r = 0; r < n; r++)
      if (scores[r] < sorted_[kFirst]) scores[r] = std::numeric_limits<float>::quiet_NaN();
  }

  // Asks for the codes of a row that is scored at the end.
  void ask_codes(int64_t row) const {
    const uint8_t* at = w_.codes + row * w_.format->width;
    for (int64_t b = 0; b < w_.format->width; b += 64) prefetch(at + b);
  }

  // The best k of the first `most` by their codes, as a scan scores them.
  template <class Best>
  void refine(const Best& from, int64_t most, int64_t k, Found& out) {
    dense_queries(w_, 0, 1, false, q_);
    const int64_t n = std::min(most, from.size());
    best_.reset(k);
    for (int64_t at = 0; at < n;) {
      tile_.clear();
      for (; at < n && !tile_.full(); at++) {
        tile_.add(from.row(at));
        tile_.ask(from.row(at));
      }
      const float* got = tile_.score(q_, 0, 1, 0);
      for (int64_t r = 0; r < tile_.count(); r++) best_.insert(got[r], tile_.id(r));
    }
    for (int64_t r = 0; r < k; r++) {
      out.ids[r] = r < best_.size() ? best_.row(r) : -1;
      out.scores[r] = r < best_.size() ? best_.score(r) : -std::numeric_limits<float>::infinity();
    }
    out.scored = count_;
  }

  const Links links_;
  const Lines lines_;
  const PaddedAxes& axes_;
  Work w_;
  Tile tile_;
  Walking walk_;
  DenseQueries q_;
  LineQuery line_ = {};
  Frontier found_, best_;
  std::vector<float> sorted_, floats_;
  std::vector<uint8_t> given_;
  std::vector<int32_t> products_;
  std::vector<int8_t> weights_;
  int64_t count_ = 0;

 public:
  std::unique_ptr<Filtered> filtered;  // where a filter was given
};

}  // namespace

PackedFinder::PackedFinder(const Stored& stored, const Links& links, const Lines& lines, const FilterCosts& costs)
    : Finder(stored), links_(links), lines_(lines), costs_(costs) {
  costs_.plain = kLineCost * scan_rows(stored.format), costs_.after = double(kBestLeast);
  const Axes& a = lines.axes;
  axes_.stride = (a.dim + 63) / 64 * 64;
  axes_.sums.resize(size_t((a.count + 3) / 4 * 4));
  axes_.rows.resize(axes_.sums.size() * size_t(axes_.stride));
  for (int64_t i = 0; i < a.count; i++) {
    std::copy_n(a.rows + i * a.dim, a.dim, axes_.rows.begin() + i * axes_.stride);
    axes_.sums[size_t(i)] = std::accumulate(a.rows + i * a.dim, a.rows + (i + 1) * a.dim, 0);
  }
}

std::unique_ptr<Scratch> PackedFinder::scratch() const {
  return std::make_unique<Walker>(stored_, links_, lines_, axes_);
}

void PackedFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                        Scratch& scratch, Found& out) const {
  Walker& walker = static_cast<Walker&>(scratch);
  Folded one = one_of(q, stored_.format, i);
  one.vectors = q.vectors + i * lines_.axes.dim;
  if (!allow) return walker.run(one, k, effort, nullptr, out);
  if (!walker.filtered) walker.filtered = std::make_unique<Filtered>(stored_, links_);
  const auto plain = [&](int64_t width, Found& found) { walker.run(one, k, width, allow, found); };
  walker.filtered->run(one, k, effort, costs_, preferred_, allow, rough, plain, out);
}

}  // namespace nearfield
