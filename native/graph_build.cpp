#include "graph_build.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "frontier.h"
#include "graph.h"
#include "pool.h"

namespace nearfield {
namespace {

constexpr int64_t kSeenShare = 32;

// What one thread needs to link one row after another.
class Linker {
 public:
  explicit Linker(const Growing& g) : g_(g), gaps_(*g.isa, g.rows) {}

  // The rows that a walk to `row` comes near to, nearest first.
  const std::vector<Near>& search(uint32_t row, const uint32_t* entries, int64_t n_entries) {
    near_.reset(g_.width), seen_.reset(g_.width * kSeenShare), found_.clear();
    gaps_.from(row);
    seen_.add(row);
    meet(entries, n_entries);
    for (int64_t at = near_.visit(); at >= 0; at = near_.visit()) {
      const int64_t after = near_.upcoming();
      if (after >= 0) prefetch(g_.links + after * g_.room);
      meet(g_.links + at * g_.room, g_.counts[at]);
    }
    for (int64_t i = 0; i < near_.size(); i++) found_.push_back({-near_.score(i), uint32_t(near_.row(i))});
    return found_;
  }

  // The rows that `row` is linked to, nearest first.
  const std::vector<Near>& around(uint32_t row) { return sorted(row, g_.links + int64_t(row) * g_.room, g_.counts[row]); }

  const std::vector<Near>& sorted(uint32_t row, const uint32_t* links, int64_t count) {
    met_gaps_.resize(size_t(count));
    gaps_.from(row);
    gaps_.to(links, count, met_gaps_.data());
    found_.clear();
    for (int64_t i = 0; i < count; i++) found_.push_back({met_gaps_[size_t(i)], links[i]});
    std::sort(found_.begin(), found_.end());
    return found_;
  }

  // Of candidates, nearest first, at most so many such that none is nearer to a chosen one than to the row, by the
  // factor 1 first and alpha after that.
  const std::vector<uint32_t>& prune(const std::vector<Near>& candidates, int64_t most) {
    const size_t n = candidates.size();
    chosen_.clear();
    taken_.assign(n, 0), checked_.assign(n, 0), hidden_.assign(n, 0.0f);
    for (const float alpha : {1.0f, g_.alpha}) {
      for (size_t c = 0; c < n && int64_t(chosen_.size()) < most; c++) {
        if (taken_[c] || !visible(candidates[c], c, alpha)) continue;
        taken_[c] = 1;
        chosen_.push_back(candidates[c].row);
      }
      if (g_.alpha <= 1.0f) break;
    }
    return chosen_;
  }

 private:
  void meet(const uint32_t* rows, int64_t count) {
    met_.clear();
    for (int64_t r = 0; r < count; r++)
      if (seen_.add(rows[r])) {
        met_.push_back(rows[r]);
        gaps_.ask(rows[r]);
      }
    met_gaps_.resize(met_.size());
    gaps_.to(met_.data(), int64_t(met_.size()), met_gaps_.data());
    for (size_t r = 0; r < met_.size(); r++) near_.insert(-met_gaps_[r], met_[r]);
  }

  // Whether no chosen row is alpha times nearer to the candidate than the row itself is (lengths, not squares).
  // hidden_ keeps the largest ratio met, so that no gap is computed twice.
  bool visible(const Near& candidate, size_t c, float alpha) {
    const float most = alpha * alpha;
    if (hidden_[c] > most) return false;
    gaps_.from(candidate.row);
    while (checked_[c] < chosen_.size()) {
      const size_t some = std::min<size_t>(chosen_.size() - checked_[c], 4);
      float gap[4];
      gaps_.to(chosen_.data() + checked_[c], int64_t(some), gap);
      checked_[c] += uint32_t(some);
      for (size_t s = 0; s < some; s++) {
        const float ratio = gap[s] > 0 ? candidate.gap / gap[s] : std::numeric_limits<float>::infinity();
        hidden_[c] = std::max(hidden_[c], ratio);
      }
      if (hidden_[c] > most) return false;
    }
    return true;
  }

  const Growing& g_;
  Frontier near_;
  Seen seen_;
  Gaps gaps_;
  std::vector<Near> found_;
  std::vector<uint32_t> met_, chosen_, checked_;
  std::vector<float> met_gaps_, hidden_;
  std::vector<uint8_t> taken_;
};

void keep(const Growing& g, uint32_t row, const std::vector<uint32_t>& links) {
  std::copy(links.begin(), links.end(), g.links + int64_t(row) * g.room);
  g.counts[row] = int32_t(links.size());
}

// Hands out numbers in small pieces, so that threads end together; what a number computes stands in its own place.
template <class Job>
void share_out(int threads, int64_t count, const Growing& g, Job job) {
  const int jobs = int(std::clamp<int64_t>(count / 16, 1, threads));
  parallel(jobs, [&](int j) {
    Linker linker(g);
    const int64_t to = part_begin(count, 1, j + 1, jobs);
    for (int64_t i = part_begin(count, 1, j, jobs); i < to; i++) job(linker, i);
  });
}

struct Edge {
  uint32_t to, from;
  bool operator<(const Edge& other) const { return to < other.to || (to == other.to && from < other.from); }
};

// The rows at the other ends take the links back; those with too many are pruned.
void link_back(const Growing& g, const uint32_t* rows, int64_t count) {
  std::vector<Edge> edges;
  for (int64_t i = 0; i < count; i++)
    for (int64_t l = 0; l < g.counts[rows[i]]; l++) edges.push_back({g.links[int64_t(rows[i]) * g.room + l], rows[i]});
  std::sort(edges.begin(), edges.end());
  std::vector<size_t> starts;
  for (size_t e = 0; e < edges.size(); e++)
    if (e == 0 || edges[e].to != edges[e - 1].to) starts.push_back(e);
  starts.push_back(edges.size());
  share_out(g.threads, int64_t(starts.size()) - 1, g, [&](Linker& linker, int64_t i) {
    const uint32_t row = edges[starts[size_t(i)]].to;
    for (size_t e = starts[size_t(i)]; e < starts[size_t(i) + 1]; e++) {
      uint32_t* links = g.links + int64_t(row) * g.room;
      if (std::find(links, links + g.counts[row], edges[e].from) != links + g.counts[row]) continue;
      if (g.counts[row] == g.room) keep(g, row, linker.prune(linker.around(row), g.degree));
      links[g.counts[row]++] = edges[e].from;
    }
  });
}

}  // namespace

void grow(const Growing& g, const uint32_t* rows, int64_t count, const uint32_t* starts) {
  std::vector<std::vector<uint32_t>> chosen{size_t(count)};
  share_out(g.threads, count, g, [&](Linker& linker, int64_t i) {
    const auto& met = starts ? linker.search(rows[i], starts + i, 1) : linker.search(rows[i], g.entries, g.n_entries);
    chosen[size_t(i)] = linker.prune(met, g.chosen);
  });
  for (int64_t i = 0; i < count; i++) keep(g, rows[i], chosen[size_t(i)]);
  link_back(g, rows, count);
}

void link_near(const Growing& g, const uint32_t* near, int64_t k) {
  share_out(g.threads, g.rows.n, g, [&](Linker& linker, int64_t row) {
    const uint32_t* from = near + row * k;
    const int64_t count = std::find_if(from, from + k, [&](uint32_t r) { return r >= g.rows.n; }) - from;
    keep(g, uint32_t(row), linker.prune(linker.sorted(uint32_t(row), from, count), g.chosen));
  });
  std::vector<uint32_t> all(size_t(g.rows.n));
  std::iota(all.begin(), all.end(), 0u);
  link_back(g, all.data(), g.rows.n);
}

void settle(const Growing& g) {
  share_out(g.threads, g.rows.n, g, [&](Linker& linker, int64_t row) {
    if (g.counts[row] > g.degree) keep(g, uint32_t(row), linker.prune(linker.around(uint32_t(row)), g.degree));
  });
}

}  // namespace nearfield
