#include "filtered.h"

#include <algorithm>
#include <limits>

#include "bitmap.h"

namespace nearfield {
namespace {

constexpr int64_t kSeenShare = 64;  // slots of the table of rows met, for each row of the frontier
constexpr int64_t kTile = 256;      // rows scored together
constexpr int64_t kScanned = 64;    // the same in a scan, whose next rows are asked for meanwhile
constexpr int64_t kAhead = 4;       // rows whose links are asked for before they are read

// Costs in rows of a scan, as measured on rows of 196 bytes.
constexpr double kPlain = 1.6;    // a row scored in a walk as without a filter: it lies anywhere, and is held against the frontier
constexpr double kWalked = 2.3;   // the same in a walk from match to match, which has no kernel of its own
constexpr double kThrough = 2.0;  // reading the links of a row that does not match
constexpr double kReach = 2.5;    // a walk from match to match looks for so many times as many as a row has links

constexpr double kPatience = 2.0;  // a walk that costs more than so many times a scan of the matches gives up
constexpr double kSpare = 1.5;     // places of the frontier for each row that a filter will take out of the best

// What a walk of this width scores, by what was measured.
double scored_by(const FilterCosts& c, double width) {
  int at = 1;
  while (at < FilterCosts::kWidths - 1 && c.widths[at] < width) at++;
  const double run = std::max(double(c.widths[at] - c.widths[at - 1]), 1.0), rise = c.scored[at] - c.scored[at - 1];
  return std::max(1.0, double(c.scored[at]) + (width - double(c.widths[at])) * rise / run);
}

// What a visit of a walk from match to match meets, where a row matches with chance p.
struct Visit {
  double met, through, scored;

  Visit(double degree, double p) {
    const double near = degree * p, each = degree * p, most = degree * (1 - p);
    through = std::min(most, std::max(0.0, kReach * degree - near) / each);
    met = near + through * each;
    scored = met * (0.35 + 0.4 * p);
  }
};

}  // namespace

FilterPlan plan_filtered(const FilterCosts& costs, int64_t n, int64_t degree, int64_t matches, int64_t k, int64_t width,
                         Way way) {
  const double p = double(matches) / double(n), scan = double(matches);
  const double walked = scored_by(costs, double(width));
  // As many rows met as without a filter, by fewer visits, for each of them meets more.
  const Visit visit(double(degree), p);
  const double fresh = walked / double(width + 1);
  const double hops = double(k) + double(width - k) * std::min(4.0, (0.5 + 0.9 * p) * fresh / visit.scored);
  const double begin = kWalked * scored_by(costs, 1);  // until a walk is among the near rows
  const double hop = begin + hops * (kWalked * visit.scored + kThrough * visit.through);
  const double wider = double(width) + kSpare * double(k) * (1 / p - 1);
  const double post = kPlain * scored_by(costs, wider);
  if (way == kPlanned) way = scan <= std::min(hop, post) ? kScan : hop < post ? kHop : kPost;
  return {way, std::min(n, int64_t(way == kHop ? hops : way == kPost ? wider : double(k))), int64_t(kPatience * scan)};
}

Filtered::Filtered(const Stored& stored, const Links& links)
    : links_(links), w_(stored.work({})), tile_(w_, 1, kTile), other_(w_, 1, kTile), where_(size_t(kTile)), chosen_(size_t(links.degree)) {}

void Filtered::run(const Folded& one, int64_t k, int64_t width, const FilterCosts& costs, Way forced,
                   const uint64_t* allow, bool rough, const Plain& plain, Found& out) {
  w_.folded = one, allow_ = allow, count_ = 0;
  matches_ = out.matches >= 0 ? out.matches : count_bits(allow, w_.n);
  const int64_t wanted = std::min(k, matches_);
  const auto planned = [&](Way way) {
    return plan_filtered(costs, w_.n, links_.degree, matches_, wanted, std::max(width, wanted), way);
  };
  FilterPlan plan = width >= w_.n || !wanted ? FilterPlan{kScan, wanted, 0} : planned(forced);
  out.way = plan.way;
  q_ = dense_queries(w_, 0, 1, true);
  found_.reset(wanted);
  bool enough = !wanted;
  if (plan.way == kPost) {
    enough = post(wanted, plan, plain, out.watcher);
    if (!enough) plan = planned(kHop);
  }
  if (!enough && plan.way == kHop) enough = walk(wanted, plan, out.watcher);
  if (!enough) {
    if (plan.way != kScan) out.way = kGaveUp;
    found_.reset(wanted);
    scan(wanted, rough);
  }
  write(k, out);
  if (enough && !rough && !q_.lower.empty()) refine(k, out);
}

bool Filtered::allowed(int64_t row) const { return has(allow_, row); }

// A walk as without a filter, of which matches are kept.
bool Filtered::post(int64_t k, const FilterPlan& plan, const Plain& plain, Watcher* watcher) {
  ids_.resize(size_t(plan.width)), scores_.resize(size_t(plan.width));
  Found all = {ids_.data(), scores_.data(), 0};
  all.watcher = watcher;
  plain(plan.width, plan.width, all);
  count_ += all.scored;
  for (int64_t r = 0; r < plan.width && all.ids[r] >= 0; r++)
    if (allowed(all.ids[r])) found_.insert(all.scores[r], all.ids[r]);
  return found_.size() >= k;
}

// Walks from match to match. The frontier begins at rows that stand for all, whether they match or not; then only
// matches enter it. Gives up where a scan would be cheaper.
bool Filtered::walk(int64_t k, const FilterPlan& plan, Watcher* watcher) {
  near_.reset(plan.width), seen_.reset(plan.width * kSeenShare), found_.reset(k);
  tile_.clear();
  for (int64_t e = 0; e < links_.n_entries; e++)
    if (links_.entries[e] < w_.n && seen_.add(links_.entries[e])) take(links_.entries[e]);
  meet();
  double spent = 0;
  for (int64_t row = near_.visit(); row >= 0; row = near_.visit()) {
    const int64_t before = count_;
    spent += kThrough * double(beyond(row));
    meet();
    if (watcher) watcher->look(near_);
    spent += kWalked * double(count_ - before);
    if (spent > double(plan.most)) return false;
  }
  return found_.size() >= k;
}

// Takes up the matches among the neighbours of a row, and among the neighbours of those that do not match, until so
// many are met; returns how many rows that took. Source: Patel, Kraft, Guestrin, Zaharia, ACORN, SIGMOD 2024.
int64_t Filtered::beyond(int64_t row) {
  const uint32_t* to = links_.to + row * links_.degree;
  int64_t met = 0, looked = 0;
  through_.clear();
  for (int64_t l = 0; l < links_.degree; l++) {
    const uint32_t link = link_at(to + l);
    if (link >= w_.n) break;
    if (!allowed(link)) {
      through_.push_back(link);
      continue;
    }
    met++;
    if (seen_.add(link)) take(link);
  }
  const int64_t count = int64_t(through_.size()), enough = int64_t(kReach * double(links_.degree));
  for (int64_t b = 0; b < std::min(kAhead, count); b++) ask(through_[size_t(b)]);
  for (int64_t b = 0; b < count && met < enough; b++) {
    if (b + kAhead < count) ask(through_[size_t(b + kAhead)]);
    if (!seen_.add(through_[size_t(b)])) continue;
    met += among(through_[size_t(b)]);
    looked++;
  }
  return looked;
}

// Takes up the matches among the neighbours of a row that does not match.
int64_t Filtered::among(int64_t row) {
  const uint32_t* to = links_.to + row * links_.degree;
  int64_t count = 0;
  for (int64_t l = 0; l < links_.degree; l++) {
    const uint32_t link = link_at(to + l);
    if (link >= w_.n) break;
    chosen_[size_t(count)] = link;
    count += allowed(link);
  }
  for (int64_t c = 0; c < count; c++)
    if (seen_.add(chosen_[size_t(c)])) take(chosen_[size_t(c)]);
  return count;
}

// Asks for the links of a row.
void Filtered::ask(int64_t row) const {
  const uint32_t* at = links_.to + row * links_.degree;
  for (int64_t l = 0; l < links_.degree; l += 16) prefetch(at + l);
}

void Filtered::take(int64_t row) {
  if (tile_.full()) meet();
  tile_.add(row), tile_.ask(row);
}

// Scores what was taken up.
void Filtered::meet() {
  const int64_t n = tile_.count();
  if (!n) return;
  count_ += n;
  const float* got = tile_.score(q_, 0, 1, 0);
  for (int64_t r = 0; r < n; r++) {
    const int64_t row = tile_.id(r);
    near_.insert(got[r], row);
    if (allowed(row)) found_.insert(got[r], row);
  }
  tile_.clear();
}

// All rows that match.
void Filtered::scan(int64_t k, bool rough) {
  if (!rough) q_ = dense_queries(w_, 0, 1);
  Matches rows(allow_, w_.n);
  TopK top(k);
  Tile *now = &tile_, *soon = &other_;
  const auto fill = [&](Tile& tile) {
    tile.clear();
    for (int64_t row; tile.count() < kScanned && (row = rows.next()) >= 0;) {
      tile.add(row);
      prefetch(w_.codes + row * w_.format->width);  // the processor foresees the rest of it
    }
  };
  for (fill(*now); now->count(); std::swap(now, soon)) {
    fill(*soon);
    const float* got = now->score(q_, 0, 1, 0);
    const int64_t some = w_.isa->select(got, now->count(), top.bound(), where_.data());
    for (int64_t c = 0; c < some; c++) top.push(got[where_[size_t(c)]], now->id(where_[size_t(c)]));
    count_ += now->count();
  }
  ids_.resize(size_t(k)), scores_.resize(size_t(k));
  top.write(ids_.data(), scores_.data());
  for (int64_t r = 0; r < k && ids_[size_t(r)] >= 0; r++) found_.insert(scores_[size_t(r)], ids_[size_t(r)]);
}

// Scores what was found as a scan of whole numbers would.
void Filtered::refine(int64_t k, Found& out) {
  q_ = dense_queries(w_, 0, 1);
  const int64_t n = std::find(out.ids, out.ids + k, -1) - out.ids;
  found_.reset(k);
  for (int64_t at = 0; at < n;) {
    tile_.clear();
    for (; at < n && !tile_.full(); at++) tile_.add(out.ids[at]);
    const float* got = tile_.score(q_, 0, 1, 0);
    for (int64_t r = 0; r < tile_.count(); r++) found_.insert(got[r], tile_.id(r));
  }
  write(k, out);
}

void Filtered::write(int64_t k, Found& out) const {
  for (int64_t r = 0; r < k; r++) {
    out.ids[r] = r < found_.size() ? found_.row(r) : -1;
    out.scores[r] = r < found_.size() ? found_.score(r) : -std::numeric_limits<float>::infinity();
  }
  out.scored = count_;
}

}  // namespace nearfield
