#include "disk_graph.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "best.h"
#include "bitmap.h"
#include "frontier.h"
#include "graph.h"
#include "pool.h"
#include "tile.h"

namespace nearfield {

namespace {
constexpr int64_t kSeenShare = 32;  // slots of the table of rows met, for each row of the frontier
}  // namespace

// What one thread needs for one search after another.
struct DiskGraph::Walker {
  explicit Walker(const DiskGraph& of)
      : graph(of), w(of.codes_.work({})), tile(w, 1, std::max(of.nodes_.degree, of.n_entries_)) {
    if (of.nodes_.disk) reading = std::make_unique<Reading>(*of.nodes_.disk);
  }

  void run(const Folded& one, const float* x, int64_t k, int64_t width, const uint64_t* allow, int64_t* ids,
           float* scores, int64_t* scored) {
    w.folded = one, w.allow = allow;
    const DenseQueries q = dense_queries(w, 0, 1, true);
    begin(x);
    near.reset(std::max(width, k)), best.reset(k, nullptr), seen.reset(std::max(width, k) * kSeenShare);
    count = 0;
    int64_t found = 0;
    // A walk that visits few rows visits them one by one: with several at once, most of them would be early ones.
    const int64_t together = std::clamp<int64_t>(width / 8, 1, graph.beam_);
    meet(q, graph.entries_, graph.n_entries_);
    for (;;) {
      steps.clear();
      for (int64_t row; int64_t(steps.size()) < together && (row = near.visit(width)) >= 0;) steps.push_back(row);
      if (steps.empty()) {
        if (width < near.size() && found + waiting() < k) {
          width++;  // a narrow walk has met too few
          continue;
        }
        see_rest();
        break;
      }
      if (reading) ask_ahead();
      found += see();
      for (size_t s = 0; s < steps.size(); s++) {
        links.resize(size_t(graph.nodes_.degree));
        std::memcpy(links.data(), at[s] + graph.nodes_.values + 4, links.size() * 4);
        meet(q, links.data(), graph.nodes_.degree);
      }
    }
    best.write(true, k, ids, scores);
    *scored = count;
  }

  bool admitted(int64_t row) const { return !w.allow || has(w.allow, row); }

  // How many rows of the frontier may be found, but that the walk has not been there.
  int64_t waiting() const {
    int64_t some = 0;
    for (int64_t r = 0; r < near.size(); r++) some += !near.visited(r) && admitted(near.row(r));
    return some;
  }

  // Scores their nodes and meets nobody: they are among the best by their codes, where fewer are visited than wanted.
  void see_rest() {
    for (int64_t left = waiting(); left > 0; left -= int64_t(steps.size())) {
      steps.clear();
      while (int64_t(steps.size()) < std::min(graph.beam_, left)) {
        const int64_t row = near.visit(near.size());
        if (admitted(row)) steps.push_back(row);
      }
      see();
    }
  }

  // Reads the nodes of this step and scores them; returns how many of them are admitted.
  int64_t see() {
    read(steps.data(), int64_t(steps.size()));
    const float* got = exact();
    int64_t some = 0;
    for (size_t s = 0; s < steps.size(); s++)
      if (admitted(steps[s])) best.push(got[s], steps[s]), some++;
    return some;
  }

  void begin(const float* x) {
    const int64_t d = graph.nodes_.dim;
    query.assign(size_t((d + kPad - 1) / kPad * kPad), 0.0f);
    std::copy_n(x, d, query.begin());
    square = 0;
    for (int64_t i = 0; i < d; i++) square += x[i] * x[i];
    if (reading) reading->begin();
  }

  // Has the nodes read that would be visited next, as things stand: while those of this step are waited for.
  void ask_ahead() {
    for (int64_t r = 0, left = graph.beam_; r < near.size() && left > 0; r++) {
      if (near.visited(r)) continue;
      const int64_t block = near.row(r) / graph.nodes_.per;
      if (!graph.kept(block)) reading->ask(block);
      left--;
    }
  }

  // Makes the nodes of some rows available at `at`.
  void read(const int64_t* rows, int64_t some) {
    const Nodes& nodes = graph.nodes_;
    at.assign(size_t(some), nullptr), blocks.clear();
    for (int64_t s = 0; s < some; s++) {
      const int64_t block = rows[s] / nodes.per;
      const uint8_t* here = nodes.memory ? nodes.memory + block * nodes.block : graph.kept(block);
      if (here)
        at[size_t(s)] = here + rows[s] % nodes.per * nodes.size;
      else
        blocks.push_back(block);
    }
    if (blocks.empty()) return;
    reading->need(blocks.data(), int64_t(blocks.size()));
    for (int64_t s = 0; s < some; s++)
      if (!at[size_t(s)]) at[size_t(s)] = reading->at(rows[s] / nodes.per) + rows[s] % nodes.per * nodes.size;
  }

  // Scores of the rows at `at`, by their values.
  const float* exact() {
    const Nodes& nodes = graph.nodes_;
    values.resize(at.size());
    w.isa->dot_float(nodes.element, at.data(), int64_t(at.size()), nodes.dim, query.data(), int64_t(query.size()), 1,
                     values.data(), int64_t(at.size()));
    for (size_t s = 0; graph.codes_.metric == kL2 && s < at.size(); s++) {
      float own;
      std::memcpy(&own, at[s] + nodes.values, 4);
      values[s] = 2 * values[s] - own - square;
    }
    return values.data();
  }

  void meet(const DenseQueries& q, const uint32_t* rows, int64_t some) {
    tile.clear();
    for (int64_t r = 0; r < some && rows[r] < w.n; r++)
      if (seen.add(rows[r])) tile.add(rows[r]), tile.ask(rows[r]);
    const int64_t n = tile.count();
    if (!n) return;
    count += n;
    const float* got = tile.score(q, 0, 1, 0);
    for (int64_t r = 0; r < n; r++) near.insert(got[r], tile.id(r));
  }

  const DiskGraph& graph;
  Work w;
  Tile tile;
  Frontier near;
  Best best;
  Seen seen;
  int64_t count = 0;
  float square = 0;
  std::unique_ptr<Reading> reading;
  std::vector<float> query, values;
  std::vector<int64_t> steps, blocks;
  std::vector<const uint8_t*> at;
  std::vector<uint32_t> links;
};

DiskGraph::DiskGraph(const Stored& codes, const Nodes& nodes, const uint32_t* entries, int64_t n_entries, int64_t beam,
                     int64_t cached)
    : codes_(codes), nodes_(nodes), entries_(entries), n_entries_(n_entries), beam_(beam), cached_(cached) {}
DiskGraph::~DiskGraph() = default;

const uint8_t* DiskGraph::kept(int64_t block) const {
  const auto found = std::lower_bound(kept_at_.begin(), kept_at_.end(), block);
  if (found == kept_at_.end() || *found != block) return nullptr;
  return kept_.data() + (found - kept_at_.begin()) * nodes_.block;
}

// Reads the nodes that are fewest steps from the entries, and keeps their blocks.
void DiskGraph::keep_near() const {
  if (!nodes_.disk || cached_ < 1) return;
  Walker walker(*this);
  std::vector<int64_t> now, next;
  std::vector<uint64_t> met(size_t(codes_.n / 64 + 1));
  const auto meet = [&](uint32_t row) {
    if (row >= codes_.n || (met[row >> 6] >> (row & 63) & 1)) return;
    met[row >> 6] |= uint64_t(1) << (row & 63);
    next.push_back(row);
  };
  for (int64_t e = 0; e < n_entries_; e++) meet(entries_[e]);
  std::vector<std::pair<int64_t, std::vector<uint8_t>>> blocks;
  for (int64_t left = cached_; left > 0 && !next.empty();) {
    now.swap(next), next.clear();
    now.resize(size_t(std::min<int64_t>(left, int64_t(now.size()))));
    left -= int64_t(now.size());
    walker.reading->begin();
    walker.read(now.data(), int64_t(now.size()));
    for (size_t s = 0; s < now.size(); s++) {
      const uint8_t* block = walker.at[s] - now[s] % nodes_.per * nodes_.size;
      blocks.emplace_back(now[s] / nodes_.per, std::vector<uint8_t>(block, block + nodes_.block));
      walker.links.resize(size_t(nodes_.degree));
      std::memcpy(walker.links.data(), walker.at[s] + nodes_.values + 4, walker.links.size() * 4);
      for (uint32_t link : walker.links) meet(link);
    }
  }
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  kept_.clear();
  std::vector<int64_t> at;
  for (const auto& [number, bytes] : blocks) {
    at.push_back(number);
    kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  }
  kept_at_ = std::move(at);
}

std::unique_ptr<DiskGraph::Walker> DiskGraph::take() const {
  once_.run([this] { keep_near(); });
  const std::lock_guard<std::mutex> held(lock_);
  if (walkers_.empty()) return std::make_unique<Walker>(*this);
  std::unique_ptr<Walker> walker = std::move(walkers_.back());
  walkers_.pop_back();
  return walker;
}

void DiskGraph::search(const Folded& q, const float* vectors, int64_t k, int64_t width, const uint64_t* allow,
                       int threads, int64_t* ids, float* scores, int64_t* scored) const {
  const int64_t m = q.queries;
  const int jobs = int(std::clamp<int64_t>(m, 1, threads));
  parallel(jobs, [&](int j) {
    std::unique_ptr<Walker> walker = take();
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to; i++)
      walker->run(one_of(q, codes_.format, i), vectors + i * nodes_.dim, k, width, allow, ids + i * k, scores + i * k,
                  scored + i);
    const std::lock_guard<std::mutex> held(lock_);
    walkers_.push_back(std::move(walker));
  });
}

void DiskGraph::score(const float* vectors, int64_t m, const int64_t* rows, int64_t count, int threads,
                      float* scores) const {
  const int jobs = int(std::clamp<int64_t>(m, 1, threads));
  parallel(jobs, [&](int j) {
    std::unique_ptr<Walker> walker = take();
    const int64_t to = part_begin(m, 1, j + 1, jobs);
    for (int64_t i = part_begin(m, 1, j, jobs); i < to; i++) {
      walker->steps.clear();
      for (int64_t r = 0; r < count; r++)
        if (rows[i * count + r] >= 0) walker->steps.push_back(rows[i * count + r]);
      walker->begin(vectors + i * nodes_.dim);
      walker->read(walker->steps.data(), int64_t(walker->steps.size()));
      const float* got = walker->exact();
      for (int64_t r = 0; r < count; r++)
        scores[i * count + r] = rows[i * count + r] >= 0 ? *got++ : -std::numeric_limits<float>::infinity();
    }
    const std::lock_guard<std::mutex> held(lock_);
    walkers_.push_back(std::move(walker));
  });
}

}  // namespace nearfield
