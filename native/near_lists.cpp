#include "near_lists.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "candidates.h"
#include "graph.h"
#include "pool.h"

namespace nearfield {
namespace {

constexpr int64_t kBlock_ = 8192;  // rows that are joined before lists change

// Puts a row in its place, where it is nearer than the last and new.
void insert(const NearLists& lists, uint32_t at, Near near) {
  uint32_t* rows = lists.rows + int64_t(at) * lists.k;
  float* gaps = lists.gaps + int64_t(at) * lists.k;
  uint8_t* fresh = lists.fresh + int64_t(at) * lists.k;
  int64_t place = lists.k;
  while (place > 0 && near < Near{gaps[place - 1], rows[place - 1]}) place--;
  if (place == lists.k || (place > 0 && rows[place - 1] == near.row)) return;
  for (int64_t i = lists.k - 1; i > place; i--) rows[i] = rows[i - 1], gaps[i] = gaps[i - 1], fresh[i] = fresh[i - 1];
  rows[place] = near.row, gaps[place] = near.gap, fresh[place] = 1;
}

struct Update {
  uint32_t to, row;
  float gap;
};
using Updates = std::vector<std::vector<Update>>;  // of each job

// Each thread changes the lists of its own rows, with the updates of all.
void take(const NearLists& lists, const Updates& updates, int threads) {
  parallel(threads, [&](int j) {
    const uint32_t from = uint32_t(part_begin(lists.n, 1, j, threads)), to = uint32_t(part_begin(lists.n, 1, j + 1, threads));
    for (const auto& some : updates)
      for (const Update& u : some)
        if (u.to >= from && u.to < to) insert(lists, u.to, {u.gap, u.row});
  });
}

// Compares rows with others, and notes what is near enough to enter a list as it stands.
class Joiner {
 public:
  Joiner(const Kernels& isa, const ByteRows& of, const NearLists& lists) : lists_(lists), gaps_(isa, of) {}

  void join(uint32_t row, const uint32_t* others, int64_t count, std::vector<Update>& out) {
    compared += count;
    got_.resize(size_t(count));
    gaps_.from(row);
    gaps_.to(others, count, got_.data());
    for (int64_t o = 0; o < count; o++) {
      const float gap = got_[size_t(o)];
      if (others[o] == row) continue;
      if (gap <= last(row)) out.push_back({row, others[o], gap});
      if (gap <= last(others[o])) out.push_back({others[o], row, gap});
    }
  }

  int64_t compared = 0;

 private:
  float last(uint32_t row) const { return lists_.gaps[(int64_t(row) + 1) * lists_.k - 1]; }

  const NearLists& lists_;
  Gaps gaps_;
  std::vector<float> got_;
};

// For each row, of all that are in its list or have it in theirs the ones of the lowest draws; a pair has one draw.
class Draws {
 public:
  Draws(int64_t n, int64_t some) : some_(some), rows_(size_t(n * some), kNoLink), keys_(size_t(n * some), ~uint64_t(0)) {}

  void add(uint32_t to, uint32_t row, uint64_t key) {
    uint64_t* keys = keys_.data() + int64_t(to) * some_;
    uint32_t* rows = rows_.data() + int64_t(to) * some_;
    int64_t place = some_;
    while (place > 0 && key < keys[place - 1]) place--;
    if (place == some_ || (place > 0 && rows[place - 1] == row)) return;
    for (int64_t i = some_ - 1; i > place; i--) keys[i] = keys[i - 1], rows[i] = rows[i - 1];
    keys[place] = key, rows[place] = row;
  }
  const uint32_t* of(int64_t row) const { return rows_.data() + row * some_; }
  int64_t count(int64_t row) const { return std::find(of(row), of(row) + some_, kNoLink) - of(row); }
  bool has(int64_t row, uint32_t other) const { return std::find(of(row), of(row) + some_, other) != of(row) + some_; }

 private:
  int64_t some_;
  std::vector<uint32_t> rows_;
  std::vector<uint64_t> keys_;
};

void draw(const NearLists& lists, uint64_t seed, int threads, Draws& fresh, Draws& known) {
  parallel(threads, [&](int j) {
    const int64_t from = part_begin(lists.n, 1, j, threads), to = part_begin(lists.n, 1, j + 1, threads);
    for (int64_t i = 0; i < lists.n; i++)
      for (int64_t e = i * lists.k; e < (i + 1) * lists.k && lists.rows[e] != kNoLink; e++) {
        const int64_t other = lists.rows[e];
        const bool here = i >= from && i < to, there = other >= from && other < to;
        if (!here && !there) continue;
        const uint64_t key = mixed(seed ^ mixed(uint64_t(std::min(i, other)) << 32 | uint64_t(std::max(i, other))));
        Draws& draws = lists.fresh[e] ? fresh : known;
        if (here) draws.add(uint32_t(i), uint32_t(other), key);
        if (there) draws.add(uint32_t(other), uint32_t(i), key);
      }
  });
}

}  // namespace

void join_leaves(const Kernels& isa, const ByteRows& of, const NearLists& lists, const uint32_t* rows,
                 const int64_t* leaves, int64_t count, int threads) {
  const int64_t step = std::max<int64_t>(1, kBlock_ * count / std::max<int64_t>(lists.n, 1));
  for (int64_t from = 0; from < count; from += step) {
    const int64_t some = std::min(step, count - from);
    Updates updates{size_t(threads)};
    parallel(threads, [&](int j) {
      Joiner joiner(isa, of, lists);
      for (int64_t l = part_begin(some, 1, j, threads); l < part_begin(some, 1, j + 1, threads); l++)
        for (int64_t r = leaves[from + l]; r < leaves[from + l + 1]; r++)
          joiner.join(rows[r], rows + r + 1, leaves[from + l + 1] - r - 1, updates[size_t(j)]);
    });
    take(lists, updates, threads);
  }
}

Joined join_near(const Kernels& isa, const ByteRows& of, const NearLists& lists, int64_t some, uint64_t seed, int threads) {
  Draws fresh(lists.n, some), known(lists.n, some);
  draw(lists, seed, threads, fresh, known);
  for (int64_t i = 0; i < lists.n; i++)
    for (int64_t e = i * lists.k; e < (i + 1) * lists.k; e++)
      if (lists.fresh[e] && fresh.has(i, lists.rows[e])) lists.fresh[e] = 0;
  std::vector<int64_t> compared(size_t(threads), 0);
  for (int64_t from = 0; from < lists.n; from += kBlock_) {
    const int64_t rows = std::min(kBlock_, lists.n - from);
    Updates updates{size_t(threads)};
    parallel(threads, [&](int j) {
      Joiner joiner(isa, of, lists);
      for (int64_t i = from + part_begin(rows, 1, j, threads); i < from + part_begin(rows, 1, j + 1, threads); i++) {
        const uint32_t* news = fresh.of(i);
        const int64_t count = fresh.count(i);
        for (int64_t a = 0; a < count; a++) {
          joiner.join(news[a], news + a + 1, count - a - 1, updates[size_t(j)]);
          joiner.join(news[a], known.of(i), known.count(i), updates[size_t(j)]);
        }
      }
      compared[size_t(j)] += joiner.compared;
    });
    take(lists, updates, threads);
  }
  return {std::count(lists.fresh, lists.fresh + lists.n * lists.k, uint8_t(1)),
          std::accumulate(compared.begin(), compared.end(), int64_t(0))};
}

}  // namespace nearfield
