#include "graph.h"

#include <algorithm>
#include <limits>

#include "filtered.h"
#include "frontier.h"
#include "tile.h"
#include "walk.h"

namespace nearfield {
namespace {

// What one thread needs for one walk after another.
class Walker : public Scratch {
 public:
  Walker(const Stored& stored, const Links& links)
      : links_(links),
        w_(stored.work({})),
        most_(std::max(links.degree, links.n_entries)),
        tile_(w_, 1, most_),
        walk_(*stored.isa, links.to, links.degree, stored.n, stored.codes, stored.format.width, most_) {}

  void run(const Folded& one, int64_t k, int64_t width, bool rough, Found& out) {
    w_.folded = one;
    query();
    walk_.begin(width, std::max(width, k));
    count_ = 0;
    walk_.meet(links_.entries, links_.n_entries);
    do {
      score();
      walk_.take();
      if (out.watcher) out.watcher->look(walk_);
    } while (walk_.next());
    write_from(walk_, k, out);
    out.scored = count_;
    if (!rough && !q_.lower.empty()) refine(k, out);
  }

 private:
  void query() {
    dense_queries(w_, 0, 1, true, q_);
    const Format& f = *w_.format;
    quick_ = f.layout == kAffine4 && w_.isa->walk_nibbles && f.scale.kind == kHalf && f.shift.kind == kHalf &&
             f.shift.offset == f.scale.offset + 2 && (w_.metric == kDot || (w_.metric == kCosine && !w_.terms));
    if (!quick_) return;
    std::copy_n(f.levels, 16, nibbles_.levels);
    nibbles_.halves[0] = q_.lower.data(), nibbles_.halves[1] = nullptr;
    nibbles_.sum = q_.sums[0], nibbles_.wscale = q_.wscale[0];
    nibbles_.width = f.width, nibbles_.dim = f.dim, nibbles_.constants = f.scale.offset;
    nibbles_.offsets = offsets(w_.folded, 0);
  }

  // Scores the rows just met.
  void score() {
    const int64_t n = walk_.count();
    if (!n) return;
    count_ += n;
    if (quick_ && w_.isa->walk_nibbles(&nibbles_, w_.codes, walk_.met(), n, walk_.scores())) return;
    tile_.clear();
    for (int64_t r = 0; r < n; r++) tile_.add(walk_.met()[r]);
    std::copy_n(tile_.score(q_, 0, 1, 0), n, walk_.scores());
  }

  // Scores what was found as a scan would.
  void refine(int64_t k, Found& out) {
    const DenseQueries q = dense_queries(w_, 0, 1);
    const int64_t n = std::find(out.ids, out.ids + k, -1) - out.ids;
    found_.reset(k);
    for (int64_t at = 0; at < n;) {
      tile_.clear();
      for (; at < n && !tile_.full(); at++) tile_.add(out.ids[at]);
      const float* got = tile_.score(q, 0, 1, 0);
      for (int64_t r = 0; r < tile_.count(); r++) found_.insert(got[r], tile_.id(r));
    }
    write_from(found_, k, out);
  }

  template <class Best>
  static void write_from(const Best& best, int64_t k, Found& out) {
    for (int64_t r = 0; r < k; r++) {
      out.ids[r] = r < best.size() ? best.row(r) : -1;
      out.scores[r] = r < best.size() ? best.score(r) : -std::numeric_limits<float>::infinity();
    }
  }

  const Links links_;
  Work w_;
  const int64_t most_;
  Tile tile_;
  Walking walk_;
  DenseQueries q_;
  NibbleWalk nibbles_ = {};
  bool quick_ = false;
  Frontier found_;
  int64_t count_ = 0;

 public:
  std::unique_ptr<Filtered> filtered;  // where a filter was given
};

}  // namespace

std::unique_ptr<Scratch> GraphFinder::scratch() const { return std::make_unique<Walker>(stored_, links_); }

void GraphFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                       Scratch& scratch, Found& out) const {
  Walker& walker = static_cast<Walker&>(scratch);
  const Folded one = one_of(q, stored_.format, i);
  if (!allow) return walker.run(one, k, effort, rough, out);
  if (!walker.filtered) walker.filtered = std::make_unique<Filtered>(stored_, links_);
  const auto plain = [&](int64_t most, int64_t width, Found& all) { walker.run(one, most, width, true, all); };
  walker.filtered->run(one, k, effort, costs_, preferred_, allow, rough, plain, out);
}

}  // namespace nearfield
