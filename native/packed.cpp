#include "packed.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "filtered.h"
#include "row_scorer.h"
#include "walk.h"

namespace nearfield {
namespace {

constexpr int64_t kBest = 4, kBestLeast = 100;  // so many rows for each that is wanted are scored by their codes
constexpr int64_t kFirst = 8;                   // so many entries are walked from
constexpr double kLineCost = 1.6;               // of a line in a walk, in rows of 196 bytes in a scan

// What one thread needs for one walk after another.
class Walker : public Scratch {
 public:
  Walker(const Stored& stored, const Links& links, const Lines& lines, const PaddedAxes& axes)
      : links_(links), lines_(lines), axes_(axes), stored_(stored), scorer_(stored, 1),
        walk_(*stored.isa, links.to, links.degree, stored.n, lines.rows, lines.width,
              Walking::most_met(links.degree, links.n_entries), 1),
        room_(axes.axes, lines.width) {}

  void run(const Folded& one, int64_t k, int64_t width, const uint64_t* allow, Found& out) {
    allow_ = allow;
    const int64_t best = std::max(k, std::min(width, std::max(kBest * k, kBestLeast)));
    std::copy_n(one.vectors, lines_.axes.dim, room_.given.begin());
    line_ = room_.weigh(*stored_.isa, axes_.axes, lines_.width);
    walk_.begin(width, std::max(width, best), k), found_.reset(allow ? best : 1, nullptr);
    count_ = 0;
    walk_.meet(links_.entries, links_.n_entries);
    score();
    walk_.take_best(kFirst);
    for (int64_t visited = 0, some = walk_.next(); some; visited += some, some = walk_.next()) {
      if (!allow && visited < best) std::for_each_n(walk_.went(), some, [this](int64_t row) { scorer_.ask(row); });
      score();
      walk_.take();
      if (out.watcher) out.watcher->look(walk_);
    }
    out.scored = count_;
    const auto met = [this](int64_t r) { return walk_.row(r); };
    if (!allow) return score_again(scorer_, one, std::min(best, walk_.size()), met, k, best_, out);
    // Where too few of the frontier match, those that were met on the way are not the best.
    int64_t near = 0;
    for (int64_t r = 0; r < walk_.size() && near < k; r++) near += has(allow, walk_.row(r));
    if (near < k) found_.reset(1, nullptr);
    found_.finish(false);
    score_again(scorer_, one, found_.size(), [this](int64_t r) { return found_.place(r); }, k, best_, out);
  }

 private:
  // Scores the rows just met.
  void score() {
    const int64_t n = walk_.count();
    stored_.isa->line_scores(lines_.rows, walk_.met(), n, &line_, walk_.scores());
    count_ += n;
    if (!allow_) return;
    for (int64_t r = 0; r < n; r++) {
      const uint32_t row = walk_.met()[r];
      if (has(allow_, row)) found_.push(walk_.scores()[r], row);
    }
  }

  const Links links_;
  const Lines lines_;
  const PaddedAxes& axes_;
  const Stored& stored_;
  const uint64_t* allow_ = nullptr;
  RowScorer scorer_;
  Walking walk_;
  LineQuery line_ = {};
  Best found_, best_;
  LineRoom room_;
  int64_t count_ = 0;

 public:
  std::unique_ptr<Filtered> filtered;  // where a filter was given
};

}  // namespace

PaddedAxes::PaddedAxes(const Axes& a, int64_t width) {
  const int64_t stride = (a.dim + 63) / 64 * 64, bytes = width - kLineEnd;
  const size_t count = size_t((a.count + 15) / 16 * 16);
  rows.resize(count * size_t(stride)), sums.resize(count), sources.resize(size_t(4 * width)), powers.resize(sources.size());
  for (auto* v : {&scales, &offsets, &steps, &middles}) v->resize(count);
  for (int64_t i = 0, at = 0; i < a.count; i++) {
    const size_t s = size_t(i);
    std::copy_n(a.rows + i * a.dim, a.dim, rows.begin() + i * stride);
    sums[s] = std::accumulate(a.rows + i * a.dim, a.rows + (i + 1) * a.dim, 0);
    scales[s] = a.scales[i], offsets[s] = a.offsets[i], steps[s] = a.steps[i];
    middles[s] = (float(1 << 2 * a.digits[i]) - 1.0f) / 2;
    for (int d = 0; d < a.digits[i]; d++, at++) {
      const size_t slot = size_t(at / bytes * width + at % bytes);
      sources[slot] = int32_t(i), powers[slot] = float(1 << 2 * d);
    }
  }
  axes = {rows.data(), sums.data(), scales.data(), offsets.data(), steps.data(), middles.data(), int64_t(count), stride,
          sources.data(), powers.data(), a.of_less};
}

PackedFinder::PackedFinder(const Stored& stored, const Links& links, const Lines& lines, const FilterCosts& costs)
    : Finder(stored), links_(links), lines_(lines), axes_(lines.axes, lines.width), costs_(costs) {
  costs_.plain = kLineCost * scan_rows(stored.format), costs_.after = double(kBestLeast);
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
