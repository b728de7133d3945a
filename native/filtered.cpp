#include "filtered.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bitmap.h"

namespace nearfield {
namespace {

constexpr int64_t kScanned = 64;  // rows scored together in a scan, whose next rows are asked for meanwhile
constexpr int64_t kAhead = 4;     // rows whose links are asked for before they are read
constexpr int64_t kFirst = 8;     // so many entries are walked from

// Costs in rows of a scan, as measured with AVX2 and AVX-512 on rows of 196 bytes.
constexpr double kWide = 1200;      // a frontier of so many rows doubles what a row of a walk costs
constexpr double kWalked = 1.2;     // a row scored in a walk from match to match
constexpr double kThrough = 2.0;    // reading the links of a row that does not match
constexpr double kBegin = 700;      // until such a walk is among the near rows

constexpr double kReach = 2.5;      // a walk from match to match looks for so many times as many as a row has links
constexpr double kPatience = 2.0;   // one that costs more than so many times a scan of the matches gives up
constexpr double kSpare = 1.5;      // places of the frontier for each row that a filter will take out of the best
constexpr double kDeviations = 2.0; // a filter that takes out so many standard deviations more than expected is provided for

// What a walk of this width scores, by what was measured.
double scored_by(const FilterCosts& c, double width) {
  int at = 1;
  while (at < FilterCosts::kWidths - 1 && c.widths[at] < width) at++;
  const double run = std::max(double(c.widths[at] - c.widths[at - 1]), 1.0), rise = c.scored[at] - c.scored[at - 1];
  return std::max(1.0, double(c.scored[at]) + (width - double(c.widths[at])) * rise / run);
}

// What a visit of a walk from match to match meets, where a row matches with chance p.
struct Visit {
  double met, through;

  Visit(double degree, double p) {
    const double near = degree * p, each = degree * p, most = degree * (1 - p);
    through = std::min(most, std::max(0.0, kReach * degree - near) / each);
    met = near + through * each;
  }
};

// What reading the links of a row costs, in rows of a scan.
double through_cost(const Format& f) { return kThrough * scan_rows(f); }

struct Split {
  int64_t some, others;
};

// Of the links of a row those that a filter lets through, and the rest where it is wanted. Without a branch that
// depends on the filter, and with nothing in memory but the rows: this is where a walk from match to match is most of
// its time.
template <bool REST>
Split split(const uint64_t* allow, uint32_t n, const uint32_t* links, int64_t count, uint32_t* some, uint32_t* others) {
  uint32_t* in = some;
  uint32_t* out = others;
  for (const uint32_t* end = links + count; links < end; links++) {
    const uint32_t row = link_at(links);
    if (row >= n) break;
    const uint64_t match = allow[row >> 6] >> (row & 63) & 1;
    *in = row, in += match;
    if (REST) *out = row, out += 1 - match;
  }
  return {in - some, out - others};
}

}  // namespace

FilterPlan plan_filtered(const FilterCosts& costs, const Format& format, int64_t n, int64_t degree, int64_t matches,
                         int64_t k, int64_t width, Way way) {
  const double p = double(matches) / double(n), scan = double(matches);
  const double walked = scored_by(costs, double(width)), through = through_cost(format);
  // As many rows met as without a filter, by fewer visits, for each of them meets more.
  const Visit visit(double(degree), p);
  const double fresh = walked / double(width + 1);
  const double hops = double(k) + double(width - k) * std::min(4.0, (0.5 + 0.9 * p) * fresh / (visit.met * (0.35 + 0.4 * p)));
  const double scored = visit.met * (0.3 + 0.95 * p - 0.7 * p * p);  // the others were met before
  const double hop = kBegin + hops * (kWalked * scored + through * visit.through);
  const double surely = (double(k) + kDeviations * std::sqrt(double(k) * (1 - p))) / p;
  const double wider = std::max(double(width) + kSpare * double(k) * (1 / p - 1), surely);
  const double post = costs.plain * (1 + wider / kWide) * scored_by(costs, wider) + costs.after;
  if (way == kPlanned) way = scan <= std::min(hop, post) ? kScan : hop < post ? kHop : kPost;
  return {way, std::min(n, int64_t(way == kHop ? hops : way == kPost ? wider : double(k))), int64_t(kPatience * scan)};
}

Filtered::Filtered(const Stored& stored, const Links& links)
    : isa_(*stored.isa),
      format_(stored.format),
      n_(stored.n),
      most_(std::max(links.n_entries, 2 * links.degree + int64_t(kReach * double(links.degree)))),
      links_(links),
      scorer_(stored, std::max(most_, kScanned)),
      walk_(*stored.isa, links.to, links.degree, stored.n, stored.codes, stored.format.width, most_),
      passed_(stored.n),
      matching_(size_t(most_)),
      other_(size_t(links.degree)),
      rows_(size_t(2 * kScanned)),
      scores_(size_t(kScanned + kBlock)),
      where_(size_t(kScanned)) {}

void Filtered::run(const Folded& one, int64_t k, int64_t width, const FilterCosts& costs, Way forced,
                   const uint64_t* allow, bool rough, const Plain& plain, Found& out) {
  allow_ = allow, count_ = 0;
  const int64_t matches = out.matches >= 0 ? out.matches : count_bits(allow, n_);
  const int64_t wanted = std::min(k, matches);
  const auto planned = [&](Way way) {
    return plan_filtered(costs, format_, n_, links_.degree, matches, wanted, std::max(width, wanted), way);
  };
  FilterPlan plan = width >= n_ || !wanted ? FilterPlan{kScan, wanted, 0} : planned(forced);
  out.way = plan.way;
  if (plan.way == kPost) {
    plain(plan.width, out);
    if (out.ids[wanted - 1] >= 0) return;
    count_ = out.scored, plan = planned(kHop);
  }
  if (plan.way == kHop) {
    scorer_.query(one, true);
    if (walk(wanted, plan, out.watcher)) {
      write_admitted(walk_, k, allow, out);
      if (!rough && scorer_.roughened()) score_found(scorer_, one, k, best_, out);
      out.scored = count_;
      return;
    }
  }
  if (plan.way != kScan) out.way = kGaveUp;
  scorer_.query(one, rough);
  scan(k, out);
}

// Walks from match to match. Only matches enter the frontier, but for the rows where it begins. Gives up where a scan
// would be cheaper.
bool Filtered::walk(int64_t k, const FilterPlan& plan, Watcher* watcher) {
  begin(plan.width);
  const double through = through_cost(format_);
  double spent = kWalked * double(walk_.count());
  for (int64_t row = walk_.go(); row >= 0; row = walk_.go()) {
    spent += through * double(beyond(row));
    meet();
    if (watcher) watcher->look(walk_);
    spent += kWalked * double(walk_.count());
    if (spent > double(plan.most)) return false;
  }
  int64_t found = 0;
  for (int64_t r = 0; r < walk_.size() && found < k; r++) found += has(allow_, walk_.row(r));
  return found >= k;
}

// Begins at the best of the rows that stand for all, whether they match or not; there are places for them beside those
// of the matches.
void Filtered::begin(int64_t width) {
  passed_.clear();
  walk_.begin(width + kFirst, width + kFirst);
  walk_.meet(links_.entries, links_.n_entries);
  const int64_t n = walk_.count();
  float* scores = walk_.scores();
  scorer_.score(walk_.met(), n, scores);
  count_ += n;
  if (n > kFirst) {
    first_.assign(scores, scores + n);
    std::nth_element(first_.begin(), first_.begin() + kFirst - 1, first_.end(), std::greater<float>());
    for (int64_t r = 0; r < n; r++)
      if (scores[r] < first_[kFirst - 1] && !has(allow_, walk_.met()[r])) scores[r] = std::numeric_limits<float>::quiet_NaN();
  }
  walk_.take();
}

// Gathers the matches among the neighbours of a row, and among the neighbours of those that do not match, until so
// many are met; returns how many rows that took. Source: Patel, Kraft, Guestrin, Zaharia, ACORN, SIGMOD 2024.
int64_t Filtered::beyond(int64_t row) {
  const int64_t enough = int64_t(kReach * double(links_.degree));
  some_ = 0;
  int64_t looked = 0;
  const int64_t others = gather(row, other_.data());
  for (int64_t b = 0; b < std::min(kAhead, others); b++) ask(other_[size_t(b)]);
  for (int64_t b = 0; b < others && some_ < enough; b++) {
    if (b + kAhead < others) ask(other_[size_t(b + kAhead)]);
    if (!passed_.add(other_[size_t(b)])) continue;
    gather(other_[size_t(b)], nullptr);
    looked++;
  }
  return looked;
}

// Gathers the matches among the links of a row; returns how many others there are.
int64_t Filtered::gather(int64_t row, uint32_t* others) {
  const uint32_t* links = links_.to + row * links_.degree;
  const Split got = others ? split<true>(allow_, uint32_t(n_), links, links_.degree, matching_.data() + some_, others)
                           : split<false>(allow_, uint32_t(n_), links, links_.degree, matching_.data() + some_, others);
  some_ += got.some;
  return got.others;
}

// Asks for the links of a row.
void Filtered::ask(int64_t row) const {
  const uint32_t* at = links_.to + row * links_.degree;
  for (int64_t l = 0; l < links_.degree; l += 16) prefetch(at + l);
}

// Scores what was gathered and is new.
void Filtered::meet() {
  walk_.meet(matching_.data(), some_);
  scorer_.score(walk_.met(), walk_.count(), walk_.scores());
  count_ += walk_.count();
  walk_.take();
}

// All rows that match.
void Filtered::scan(int64_t k, Found& out) {
  Matches matches(allow_, n_);
  best_.reset(k, nullptr);
  int64_t counts[2];
  const auto gather = [&](int half) {
    uint32_t* rows = rows_.data() + half * kScanned;
    int64_t some = 0;
    for (int64_t row; some < kScanned && (row = matches.next()) >= 0; rows[some++] = uint32_t(row)) scorer_.ask(row);
    counts[half] = some;
  };
  gather(0);
  for (int half = 0; counts[half]; half = 1 - half) {
    gather(1 - half);
    const uint32_t* rows = rows_.data() + half * kScanned;
    scorer_.score(rows, counts[half], scores_.data());
    const int64_t some = isa_.select(scores_.data(), counts[half], best_.bound(), where_.data());
    for (int64_t c = 0; c < some; c++) best_.push(scores_[size_t(where_[size_t(c)])], rows[where_[size_t(c)]]);
    count_ += counts[half];
  }
  best_.write(true, k, out.ids, out.scores);
  out.scored = count_;
}

}  // namespace nearfield
