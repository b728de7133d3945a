// What links one row after another: a walk to the row, and the choice of links that point in different directions.
#pragma once
#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <vector>

#include "byte_rows.h"
#include "graph.h"
#include "graph_build.h"
#include "line_scores.h"
#include "pool.h"
#include "walk.h"

namespace nearfield {

// What one thread needs to link one row after another.
class Linker {
 public:
  explicit Linker(const Growing& g)
      : g_(g), gaps_(*g.isa, g.rows), walk_(g.lines ? over_lines(g) : over_bytes(g)) {
    if (g.lines) lines_.emplace(*g.isa, g.rows, *g.lines);
  }

  // The rows that a walk to `row` comes near to, nearest first.
  const std::vector<Near>& search(uint32_t row, const uint32_t* entries, int64_t n_entries) {
    lines_ ? lines_->from(row) : gaps_.from(row);
    walk_.begin(g_.width, g_.width);
    walk_.meet(&row, 1);  // it is not met again
    walk_.meet(entries, n_entries);
    do {
      see();
      walk_.take();
    } while (walk_.next());
    if (lines_) {
      met_.resize(size_t(walk_.size()));
      for (int64_t i = 0; i < walk_.size(); i++) met_[size_t(i)] = uint32_t(walk_.row(i));
      rank(row, met_.data(), walk_.size());
      return alive(found_);
    }
    found_.clear();
    for (int64_t i = 0; i < walk_.size(); i++) found_.push_back({-walk_.score(i), uint32_t(walk_.row(i))});
    return alive(found_);
  }

  // What a row that links to dead rows may link to instead: the living ones that it links to, and those beyond the
  // dead, through chains of dead rows where they are few. Nearest first.
  const std::vector<Near>& beyond(uint32_t row) {
    met_.clear(), passed_.clear();
    gather(row, row);
    const size_t direct = passed_.size();
    for (size_t i = 0; i < passed_.size() && (i < direct || int64_t(met_.size()) < g_.degree); i++)
      gather(passed_[i], row);
    std::sort(met_.begin(), met_.end());
    met_.erase(std::unique(met_.begin(), met_.end()), met_.end());
    rank(row, met_.data(), int64_t(met_.size()));
    if (int64_t(found_.size()) > g_.width) found_.resize(size_t(g_.width));
    return found_;
  }

  // The rows that a row links to, nearest first.
  const std::vector<Near>& around(uint32_t row) { return sorted(row, g_.links + int64_t(row) * g_.room, g_.counts[row]); }

  // Others by how near they are to a row, nearest first.
  const std::vector<Near>& sorted(uint32_t row, const uint32_t* others, int64_t count) {
    rank(row, others, count);
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
  static Walking over_lines(const Growing& g) {
    return Walking(*g.isa, g.links, g.room, g.rows.n, g.lines->rows, g.lines->width,
                   Walking::most_met(g.room, g.n_entries), 1);
  }
  static Walking over_bytes(const Growing& g) {
    return Walking(*g.isa, g.links, g.room, g.rows.n, reinterpret_cast<const uint8_t*>(g.rows.bytes), g.rows.stride,
                   std::max(g.room, g.n_entries));
  }

  // Scores the rows that the walk has just met.
  void see() {
    if (lines_) return lines_->to(walk_.met(), walk_.count(), walk_.scores());
    gaps_.to(walk_.met(), walk_.count(), walk_.scores());
    for (int64_t r = 0; r < walk_.count(); r++) walk_.scores()[r] = -walk_.scores()[r];
  }

  void rank(uint32_t row, const uint32_t* others, int64_t count) {
    constexpr int64_t kAsked = 8;  // rows asked for before they are needed
    met_gaps_.resize(size_t(count));
    gaps_.from(row);
    for (int64_t r = 0; r < std::min(kAsked, count); r++) gaps_.ask(others[r]);
    for (int64_t r = 0; r < count; r += kAsked) {
      for (int64_t a = r + kAsked; a < std::min(r + 2 * kAsked, count); a++) gaps_.ask(others[a]);
      gaps_.to(others + r, std::min(kAsked, count - r), met_gaps_.data() + r);
    }
    found_.clear();
    for (int64_t i = 0; i < count; i++) found_.push_back({met_gaps_[size_t(i)], others[i]});
    std::sort(found_.begin(), found_.end());
  }

  // The living among rows; all of them where there are too few of those.
  const std::vector<Near>& alive(const std::vector<Near>& rows) {
    if (!g_.dead) return rows;
    alive_.clear();
    for (const Near& near : rows)
      if (!g_.dead[near.row]) alive_.push_back(near);
    return int64_t(alive_.size()) < std::min(g_.degree, int64_t(rows.size())) ? rows : alive_;
  }

  // Notes where a row leads: living rows but for `self` in met_, dead ones that are new in passed_.
  void gather(uint32_t at, uint32_t self) {
    const uint32_t* links = g_.links + int64_t(at) * g_.room;
    for (int64_t l = 0; l < g_.counts[at]; l++) {
      if (!g_.dead[links[l]]) {
        if (links[l] != self) met_.push_back(links[l]);
      } else if (int64_t(passed_.size()) < g_.width && std::find(passed_.begin(), passed_.end(), links[l]) == passed_.end()) {
        passed_.push_back(links[l]);
      }
    }
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
  Gaps gaps_;
  std::optional<LineScores> lines_;  // what walks see, where it is not bytes
  Walking walk_;
  std::vector<Near> found_, alive_;
  std::vector<uint32_t> met_, passed_, chosen_, checked_;
  std::vector<float> met_gaps_, hidden_;
  std::vector<uint8_t> taken_;
};

// Gives a row other links. Who reads them meanwhile finds some of both, each of a row that is or was near.
inline void keep(const Growing& g, uint32_t row, const uint32_t* links, int64_t count) {
  uint32_t* at = g.links + int64_t(row) * g.room;
  for (int64_t l = 0; l < g.room; l++) put_link(at + l, l < count ? links[l] : kNoLink);
  g.counts[row] = int32_t(count);
}
inline void keep(const Growing& g, uint32_t row, const std::vector<uint32_t>& links) {
  keep(g, row, links.data(), int64_t(links.size()));
}

// Hands out numbers in small pieces, so that threads end together; what a number computes stands in its own place.
template <class Job>
void share_out(int threads, int64_t count, const Growing& g, Job job) {
  constexpr int64_t piece = 8;
  const int jobs = int(std::clamp<int64_t>(count / 16, 1, threads));
  std::atomic<int64_t> next{0};
  parallel(jobs, [&](int) {
    Linker linker(g);
    for (int64_t i; (i = next.fetch_add(piece, std::memory_order_relaxed)) < count;)
      for (const int64_t to = std::min(i + piece, count); i < to; i++) job(linker, i);
  });
}

}  // namespace nearfield
