#include "lists.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "best.h"
#include "blocks.h"
#include "tile.h"

namespace nearfield {
namespace {

constexpr int64_t kMostBlocks = 64;  // added up at a time

// What one thread needs for one search after another.
class Scanner : public Scratch {
 public:
  Scanner(const Stored& stored, const Lists& lists, const uint8_t* const* centroids)
      : lists_(lists),
        centroids_(centroids),
        w_(stored.work({})),
        tables_(stored.format.layout == kTables),
        step_(std::clamp<int64_t>(kChunkBytes / (stored.format.width * kBlock), 1, kMostBlocks)),
        terms_(w_, tables_ ? step_ : 1),
        tile_(w_, 1, 64) {
    sums_.resize(size_t(step_ * kBlock)), masks_.resize(size_t(step_)), admitted_.resize(size_t(step_));
    where_.resize(size_t(tile_.capacity()));
    products_.resize(size_t(lists.count)), ranks_.resize(size_t(lists.count));
    shorts_.resize(size_t((lists.dim + kPad - 1) / kPad * kPad));
  }

  void run(const Folded& one, const float* vector, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
           Found& out) {
    w_.folded = one, w_.allow = allow;
    outside_ = one.outside ? *one.outside : 0.0f;
    best_.reset(k, lists_.order);
    if (tables_)
      table_queries(w_, 0, 1, table_);
    else
      dense_queries(w_, 0, 1, rough, dense_);
    if (lists_.centroids) rank(vector, effort);
    const int64_t enough = std::max(effort, k);
    int64_t held = 0;
    for (int64_t at = 0; at < lists_.count && held < enough; at++) held += scan(next(at));
    out.scored = held;
    write(k, out);
  }

 private:
  // How much each list promises: the product with its centroid, or what stands for the distance to it.
  void rank(const float* vector, int64_t effort) {
    float wscale = 1.0f;
    std::fill(shorts_.begin(), shorts_.end(), int16_t(0));
    w_.isa->quantise(vector, lists_.dim, float(std::min<int64_t>(32767, 2147483647 / (128 * lists_.dim))), false,
                     shorts_.data(), &wscale);
    w_.isa->dot_int(kFromInt8, w_.format->levels, centroids_, lists_.count, lists_.dim, shorts_.data(),
                    int64_t(shorts_.size()), 1, &wscale, products_.data(), lists_.count);
    for (int64_t l = 0; l < lists_.count; l++) {
      const size_t i = size_t(l);
      products_[i] *= lists_.scales[l];
      ranks_[i] = rank_key(products_[i] - lists_.leans[l], uint32_t(l));
    }
    sorted_ = 0, some_ = 8 + lists_.count * effort / std::max<int64_t>(w_.n, 1) * 5 / 4;
  }

  // The list that promises most after so many others.
  int64_t next(int64_t at) {
    if (!lists_.centroids) return at;
    if (at >= sorted_) {
      const auto from = ranks_.begin() + sorted_;
      const int64_t to = std::min(sorted_ + some_, lists_.count);
      const auto end = ranks_.begin() + to;
      if (to < lists_.count) std::nth_element(from, end, ranks_.end(), std::greater<uint64_t>());
      std::sort(from, end, std::greater<uint64_t>());
      sorted_ = to, some_ *= 2;
    }
    return key_row(ranks_[size_t(at)]);
  }

  // Offers the rows of a list; returns how many of them are admitted.
  int64_t scan(int64_t list) {
    const int64_t from = lists_.starts[list], to = lists_.starts[list + 1];
    const float base = lists_.centred ? products_[size_t(list)] : 0.0f;
    if (from >= to) return 0;
    return tables_ ? scan_blocks(from, to, base) : scan_rows(from, to, base);
  }

  int64_t row(int64_t place) const { return lists_.order ? lists_.order[place] : place; }

  bool allowed(int64_t place) const {
    const int64_t r = row(place);
    return !w_.allow || (w_.allow[r >> 6] >> (r & 63) & 1);
  }

  // Which rows of a block are in the list, and admitted.
  uint32_t admitted(int64_t block, int64_t from, int64_t to) const {
    const int64_t first = block * kBlock;
    uint32_t mask = ~0u;
    if (first < from) mask &= ~0u << (from - first);
    if (first + kBlock > to) mask &= ~0u >> (first + kBlock - to);
    if (!w_.allow) return mask;
    uint32_t out = 0;
    for (; mask; mask &= mask - 1) {
      const int r = std::countr_zero(mask);
      out |= uint32_t(allowed(first + r)) << r;
    }
    return out;
  }

  int64_t scan_blocks(int64_t from, int64_t to, float base) {
    const int64_t last = (to + kBlock - 1) / kBlock;
    const TableQuery* q[1] = {&table_.each[0]};
    Offsets o = offsets(w_.folded, 0);
    o.outside += base;
    int64_t held = 0;
    for (int64_t first = from / kBlock, count; first < last; first += count) {
      count = std::min(step_, last - first);
      uint32_t any = 0;
      for (int64_t b = 0; b < count; b++) {
        const uint32_t mask = admitted(first + b, from, to);
        admitted_[size_t(b)] = mask, any |= mask, held += std::popcount(mask);
      }
      if (!any) continue;
      uint32_t* const sums[1] = {sums_.data()};
      w_.isa->table_sums(w_.format, w_.codes + first * w_.format->width * kBlock, count, q, 1, sums);
      terms_.start(first, count);  // after the sums, which have brought the blocks into the cache
      const auto admit = [&](int64_t block) { return admitted_[size_t(block - first)]; };
      offer_blocks(w_, *q[0], o, sums_.data(), first, count, terms_, masks_.data(), admit, best_);
    }
    return held;
  }

  int64_t scan_rows(int64_t from, int64_t to, float base) {
    w_.folded.outside = &base_;
    base_ = outside_ + base;
    int64_t held = 0;
    for (int64_t place = from; place < to;) {
      tile_.clear();
      for (; place < to && !tile_.full(); place++)
        if (allowed(place)) tile_.add(place);
      if (!tile_.count()) break;
      held += tile_.count();
      const float* scores = tile_.score(dense_, 0, 1, 0);
      const int64_t found = w_.isa->select(scores, tile_.count(), best_.bound(), where_.data());
      for (int64_t c = 0; c < found; c++) best_.push(scores[where_[size_t(c)]], tile_.id(where_[size_t(c)]));
    }
    return held;
  }

  void write(int64_t k, Found& out) {
    best_.finish(out.sorted);
    for (int64_t r = 0; r < best_.size(); r++) out.ids[r] = best_.place(r), out.scores[r] = best_.score(r);
    for (int64_t r = best_.size(); r < k; r++)
      out.ids[r] = -1, out.scores[r] = -std::numeric_limits<float>::infinity();
  }

  const Lists lists_;
  const uint8_t* const* centroids_;
  Work w_;
  const bool tables_;
  const int64_t step_;
  BlockTerms terms_;
  Tile tile_;
  Best best_;
  DenseQueries dense_;
  TableQueries table_;
  std::vector<uint32_t> sums_, masks_, admitted_;
  std::vector<int32_t> where_;
  std::vector<float> products_;
  std::vector<uint64_t> ranks_;
  std::vector<int16_t> shorts_;
  int64_t sorted_ = 0, some_ = 16;
  float base_ = 0.0f, outside_ = 0.0f;
};

}  // namespace

ListFinder::ListFinder(const Stored& stored, const Lists& lists) : Finder(stored), lists_(lists) {
  for (int64_t l = 0; l < lists.count && lists.centroids; l++)
    centroids_.push_back(reinterpret_cast<const uint8_t*>(lists.centroids + l * lists.dim));
}

ListFinder::ListFinder(const Stored& stored) : Finder(stored), lists_{} {
  whole_[1] = uint32_t(stored.n);
  lists_.starts = whole_, lists_.count = 1;
}

std::unique_ptr<Scratch> ListFinder::scratch() const {
  return std::make_unique<Scanner>(stored_, lists_, centroids_.data());
}

void ListFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                      Scratch& scratch, Found& out) const {
  const float* vector = q.vectors ? q.vectors + i * lists_.dim : nullptr;
  static_cast<Scanner&>(scratch).run(one_of(q, stored_.format, i), vector, k, effort, allow, rough, out);
}

}  // namespace nearfield
