#include "lists.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "best.h"
#include "bitmap.h"
#include "blocks.h"
#include "tile.h"

namespace nearfield {
namespace {

constexpr int64_t kMostBlocks = 64;  // added up at a time
constexpr int64_t kAll = -1;         // lists are scanned as they come
constexpr int64_t kPlaced = 2;       // a match that is taken to its place costs half as much as a place that is looked up

// A filter as lists are scanned: bits by place where few rows match, or where rows lie in their own order; else bits by
// row, which each place looks up.
class Admission {
 public:
  void begin(const uint64_t* allow, const uint32_t* order) {
    by_row_ = order ? allow : nullptr, by_place_ = order ? nullptr : allow, order_ = order;
  }
  // Takes every match to its place.
  void place(const uint32_t* places, int64_t n) {
    bits_.assign(size_t(n + 63) / 64, 0);
    Matches matches(by_row_, n);
    for (int64_t row = matches.next(); row >= 0; row = matches.next()) bits_[places[row] >> 6] |= uint64_t(1) << (places[row] & 63);
    by_place_ = bits_.data(), by_row_ = nullptr;
  }

  // The first place from here on that is admitted, or `to`.
  int64_t next(int64_t place, int64_t to) const {
    if (by_row_) {
      while (place < to && !has(by_row_, order_[place])) place++;
      return place;
    }
    if (!by_place_) return place;
    while (place < to) {
      const uint64_t word = by_place_[place >> 6] >> (place & 63);
      if (word) return std::min(to, place + std::countr_zero(word));
      place = (place | 63) + 1;
    }
    return to;
  }

  // Which of some places of a block of 32.
  uint32_t of(int64_t block, uint32_t places) const {
    if (by_place_) return places & uint32_t(by_place_[block >> 1] >> 32 * (block & 1));
    if (!by_row_) return places;
    uint32_t out = 0;
    for (; places; places &= places - 1) {
      const int r = std::countr_zero(places);
      out |= uint32_t(has(by_row_, order_[block * kBlock + r])) << r;
    }
    return out;
  }

 private:
  const uint64_t *by_row_ = nullptr, *by_place_ = nullptr;
  const uint32_t* order_ = nullptr;
  std::vector<uint64_t> bits_;
};

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

  // `places`: of each row, where the filter's matches are taken there; else null.
  void run(const Folded& one, const float* vector, int64_t k, int64_t effort, const uint64_t* allow,
           const uint32_t* places, bool rough, Found& out) {
    w_.folded = one;
    admission_.begin(allow, lists_.order);
    if (places) admission_.place(places, w_.n);
    outside_ = one.outside ? *one.outside : 0.0f;
    best_.reset(k, lists_.order);
    if (tables_)
      table_queries(w_, 0, 1, table_);
    else
      dense_queries(w_, 0, 1, rough, dense_);
    if (lists_.centroids) rank(vector, effort);
    const int64_t matches = out.matches >= 0 ? out.matches : w_.n, enough = std::min(std::max(effort, k), matches);
    if (enough == matches) sorted_ = kAll;
    int64_t held = 0;
    for (int64_t at = 0; at < lists_.count && held < enough; at++) held += scan(next(at));
    out.scored = held;
    best_.write(out.sorted, k, out.ids, out.scores);
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
      ranks_[i] = rank_key(products_[i] * lists_.slopes[l] - lists_.leans[l], uint32_t(l));
    }
    sorted_ = 0, some_ = 8 + lists_.count * effort / std::max<int64_t>(w_.n, 1) * 5 / 4;
  }

  // The list that promises most after so many others.
  int64_t next(int64_t at) {
    if (!lists_.centroids || sorted_ == kAll) return at;
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

  // Which rows of a block are in the list, and admitted.
  uint32_t admitted(int64_t block, int64_t from, int64_t to) const {
    const int64_t first = block * kBlock;
    uint32_t mask = ~0u;
    if (first < from) mask &= ~0u << (from - first);
    if (first + kBlock > to) mask &= ~0u >> (first + kBlock - to);
    return admission_.of(block, mask);
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
    for (int64_t place = admission_.next(from, to); place < to;) {
      tile_.clear();
      for (; place < to && !tile_.full(); place = admission_.next(place + 1, to)) tile_.add(place);
      if (!tile_.count()) break;
      held += tile_.count();
      const float* scores = tile_.score(dense_, 0, 1, 0);
      const int64_t found = w_.isa->select(scores, tile_.count(), best_.bound(), where_.data());
      for (int64_t c = 0; c < found; c++) best_.push(scores[where_[size_t(c)]], tile_.id(where_[size_t(c)]));
    }
    return held;
  }

  const Lists lists_;
  const uint8_t* const* centroids_;
  Work w_;
  const bool tables_;
  const int64_t step_;
  BlockTerms terms_;
  Tile tile_;
  Admission admission_;
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

const uint32_t* ListFinder::places() const {
  placed_.run([this] {
    places_.resize(size_t(stored_.n));
    for (int64_t p = 0; p < stored_.n; p++) places_[lists_.order[p]] = uint32_t(p);
  });
  return places_.data();
}

void ListFinder::find(const Folded& q, int64_t i, int64_t k, int64_t effort, const uint64_t* allow, bool rough,
                      Scratch& scratch, Found& out) const {
  const float* vector = q.vectors ? q.vectors + i * lists_.dim : nullptr;
  bool few = false;
  if (allow && lists_.order) {
    const double matches = double(out.matches >= 0 ? out.matches : count_bits(allow, stored_.n));
    const double looked = matches > 0 ? std::min(1.0, double(std::max(effort, k)) / matches) * double(stored_.n) : 0.0;
    few = matches < kPlaced * looked;
  }
  static_cast<Scanner&>(scratch).run(one_of(q, stored_.format, i), vector, k, effort, allow, few ? places() : nullptr,
                                     rough, out);
}

}  // namespace nearfield
