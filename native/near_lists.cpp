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

}  // namespace

void Draws::add(uint32_t to, uint32_t row, uint64_t key) {
  uint64_t* keys = keys_.data() + int64_t(to) * some_;
  uint32_t* rows = rows_.data() + int64_t(to) * some_;
  int64_t place = some_;
  while (place > 0 && key < keys[place - 1]) place--;
  if (place == some_ || (place > 0 && rows[place - 1] == row)) return;
  for (int64_t i = some_ - 1; i > place; i--) keys[i] = keys[i - 1], rows[i] = rows[i - 1];
  keys[place] = key, rows[place] = row;
}

void Draws::forget(int64_t from, int64_t to) {
  std::fill(rows_.begin() + from * some_, rows_.begin() + to * some_, kNoLink);
  std::fill(keys_.begin() + from * some_, keys_.begin() + to * some_, ~uint64_t(0));
}

void NearJoins::leaves(const uint32_t* rows, const int64_t* leaves, int64_t count) {
  Updates updates{size_t(threads_)};
  parallel(threads_, [&](int j) {
    Joiner joiner(isa_, of_, lists_);
    for (int64_t l = part_begin(count, 1, j, threads_); l < part_begin(count, 1, j + 1, threads_); l++)
      for (int64_t r = leaves[l]; r < leaves[l + 1]; r++)
        joiner.join(rows[r], rows + r + 1, leaves[l + 1] - r - 1, updates[size_t(j)]);
  });
  take(lists_, updates, threads_);
}

void NearJoins::draw(uint64_t seed, int64_t from, int64_t to) {
  if (!fresh_) fresh_.emplace(lists_.n, some_), known_.emplace(lists_.n, some_);
  parallel(threads_, [&](int j) {
    const int64_t mine = part_begin(lists_.n, 1, j, threads_), end = part_begin(lists_.n, 1, j + 1, threads_);
    for (int64_t i = from; i < to; i++)
      for (int64_t e = i * lists_.k; e < (i + 1) * lists_.k && lists_.rows[e] != kNoLink; e++) {
        const int64_t other = lists_.rows[e];
        const bool here = i >= mine && i < end, there = other >= mine && other < end;
        if (!here && !there) continue;
        const uint64_t key = mixed(seed ^ mixed(uint64_t(std::min(i, other)) << 32 | uint64_t(std::max(i, other))));
        Draws& draws = lists_.fresh[e] ? *fresh_ : *known_;
        if (here) draws.add(uint32_t(i), uint32_t(other), key);
        if (there) draws.add(uint32_t(other), uint32_t(i), key);
      }
  });
}

void NearJoins::age(int64_t from, int64_t to) {
  for (int64_t i = from; i < to; i++)
    for (int64_t e = i * lists_.k; e < (i + 1) * lists_.k; e++)
      if (lists_.fresh[e] && fresh_->has(i, lists_.rows[e])) lists_.fresh[e] = 0;
}

int64_t NearJoins::join(int64_t from, int64_t to) {
  std::vector<int64_t> compared(size_t(threads_), 0);
  Updates updates{size_t(threads_)};
  parallel(threads_, [&](int j) {
    Joiner joiner(isa_, of_, lists_);
    const int64_t end = from + part_begin(to - from, 1, j + 1, threads_);
    for (int64_t i = from + part_begin(to - from, 1, j, threads_); i < end; i++) {
      const uint32_t* news = fresh_->of(i);
      const int64_t count = fresh_->count(i);
      for (int64_t a = 0; a < count; a++) {
        joiner.join(news[a], news + a + 1, count - a - 1, updates[size_t(j)]);
        joiner.join(news[a], known_->of(i), known_->count(i), updates[size_t(j)]);
      }
    }
    compared[size_t(j)] = joiner.compared;
  });
  take(lists_, updates, threads_);
  fresh_->forget(from, to), known_->forget(from, to);
  return std::accumulate(compared.begin(), compared.end(), int64_t(0));
}

}  // namespace nearfield
