#include "disk.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "crc32.h"

#if defined(_WIN32)
#define NOMINMAX
#include <io.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace nearfield {
namespace {

constexpr int64_t kNear = 4096;  // a gap of one page is read along

// Each system's own way to read at a place: bytes that came, or -1.
#if defined(_WIN32)
int64_t read_at(int file, uint8_t* out, int64_t size, int64_t at) {
  OVERLAPPED place = {};
  place.Offset = DWORD(at), place.OffsetHigh = DWORD(at >> 32);
  DWORD got = 0;
  if (!ReadFile(HANDLE(_get_osfhandle(file)), out, DWORD(std::min<int64_t>(size, 1 << 30)), &got, &place))
    return GetLastError() == ERROR_HANDLE_EOF ? 0 : -1;
  return got;
}
int twin_of(int file) { return _dup(file); }
void close_file(int file) { _close(file); }
#else
int64_t read_at(int file, uint8_t* out, int64_t size, int64_t at) { return pread(file, out, size_t(size), off_t(at)); }
int twin_of(int file) { return fcntl(file, F_DUPFD_CLOEXEC, 0); }
void close_file(int file) { close(file); }
#endif

// Whether all bytes came from the system's cache, at once; no where it cannot tell.
bool read_cached(int file, uint8_t* out, int64_t size, int64_t at) {
#if defined(RWF_NOWAIT)
  const iovec into = {out, size_t(size)};
  return preadv2(file, &into, 1, off_t(at), RWF_NOWAIT) == size;
#else
  (void)file, (void)out, (void)size, (void)at;
  return false;
#endif
}

}  // namespace

void Checks::check(int64_t from, int64_t to, const uint8_t* bytes) const {
  const int64_t first = from / piece_;
  for (int64_t p = first; p * piece_ < to; p++) {
    if (crc32(bytes + (p - first) * piece_, std::min(piece_, size_ - p * piece_)) != sums_[p])
      throw DiskFault(name_ + ": damaged at offset " + std::to_string(offset_ + p * piece_) + ": checksum mismatch");
    done_[size_t(p)].store(1, std::memory_order_relaxed);
  }
}

DiskRows::DiskRows(int file, int64_t offset, int64_t n, int64_t width, int64_t piece, const uint32_t* sums,
                   std::string name)
    : checks_(n * width, piece, sums, offset, std::move(name)), file_(twin_of(file)), offset_(offset), n_(n),
      width_(width) {
  if (file_ < 0) fault("cannot be opened again", offset);
#if defined(POSIX_FADV_RANDOM)
  posix_fadvise(file_, 0, 0, POSIX_FADV_RANDOM);  // nothing is read beyond what is asked for
#endif
}

DiskRows::~DiskRows() { close_file(file_); }

void DiskRows::fault(const char* what, int64_t at) const {
  const std::string why = errno ? std::string(": ") + std::strerror(errno) : "";
  throw DiskFault(checks_.name() + ": " + what + " at offset " + std::to_string(at) + why);
}

bool DiskRows::read(int64_t from, int64_t to, uint8_t* out, std::vector<uint8_t>& room, bool wait) const {
  const bool whole = !checks_.done(from, to);
  const int64_t start = whole ? checks_.from(from) : from, size = (whole ? checks_.to(to) : to) - start;
  if (whole && int64_t(room.size()) < size) room.resize(size_t(size));
  uint8_t* into = whole ? room.data() : out;
  if (!wait && !read_cached(file_, into, size, offset_ + start)) return false;
  for (int64_t done = 0; wait && done < size;) {
    errno = 0;
    const int64_t got = read_at(file_, into + done, size - done, offset_ + start + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fault(got < 0 ? "cannot be read" : "cut short while it was open: nothing", offset_ + start + done);
    done += got;
  }
  counts_.reads.fetch_add(1, std::memory_order_relaxed);
  counts_.bytes.fetch_add(size, std::memory_order_relaxed);
  if (whole) {
    checks_.check(from, to, into);
    std::memcpy(out, into + (from - start), size_t(to - from));
  }
  return true;
}

void DiskRows::fetch(int64_t from, int64_t to) const {
  if (!checks_.done(from, to)) from = checks_.from(from), to = checks_.to(to);
#if defined(POSIX_FADV_WILLNEED)
  posix_fadvise(file_, off_t(offset_ + from), off_t(to - from), POSIX_FADV_WILLNEED);
#elif defined(F_RDADVISE)
  radvisory soon = {off_t(offset_ + from), int(std::min<int64_t>(to - from, 1 << 30))};
  fcntl(file_, F_RDADVISE, &soon);
#endif
}

void Reading::begin() {
  rows_.counts().searches.fetch_add(1, std::memory_order_relaxed);
  slots_.clear(), asked_ = 0;
  std::fill(table_.begin(), table_.end(), -1);
}

int64_t Reading::slot_of(int64_t row) const {
  if (table_.empty()) return -1;
  const size_t mask = table_.size() - 1;
  for (size_t at = size_t(uint64_t(row) * 0x9e3779b97f4a7c15ull >> 32) & mask;; at = (at + 1) & mask) {
    const int64_t slot = table_[at];
    if (slot < 0 || slots_[size_t(slot)].row == row) return slot;
  }
}

void Reading::grow() {
  table_.assign(std::bit_ceil(std::max<size_t>(256, slots_.size() * 4)), -1);
  const size_t mask = table_.size() - 1;
  for (size_t s = 0; s < slots_.size(); s++) {
    size_t at = size_t(uint64_t(slots_[s].row) * 0x9e3779b97f4a7c15ull >> 32) & mask;
    while (table_[at] >= 0) at = (at + 1) & mask;
    table_[at] = int32_t(s);
  }
}

int64_t Reading::add(int64_t row, bool early) {
  slots_.push_back({row, false, early});
  const int64_t slot = int64_t(slots_.size()) - 1;
  if (slots_.size() * 2 > table_.size()) {
    grow();
  } else {
    const size_t mask = table_.size() - 1;
    size_t at = size_t(uint64_t(row) * 0x9e3779b97f4a7c15ull >> 32) & mask;
    while (table_[at] >= 0) at = (at + 1) & mask;
    table_[at] = int32_t(slot);
  }
  if (int64_t(bytes_.size()) < (slot + 1) * rows_.width()) bytes_.resize(size_t((slot + 1) * 2 * rows_.width()));
  return slot;
}

void Reading::ask(int64_t row) {
  if (slot_of(row) >= 0) return;
  asked_++;
  const int64_t slot = add(row, true), from = row * rows_.width(), to = from + rows_.width();
  if (rows_.read(from, to, bytes(slot), room_, false))
    slots_[size_t(slot)].there = true;
  else
    rows_.fetch(from, to);
}

// Rows of slots [from, to), which lie close to each other, in one read.
void Reading::run(const std::vector<int64_t>& slots, size_t from, size_t to) {
  const int64_t width = rows_.width(), start = slots_[size_t(slots[from])].row * width;
  if (to - from == 1) {
    rows_.read(start, start + width, bytes(slots[from]), room_, true);
  } else {
    const int64_t end = (slots_[size_t(slots[to - 1])].row + 1) * width;
    if (int64_t(run_.size()) < end - start) run_.resize(size_t(end - start));
    rows_.read(start, end, run_.data(), room_, true);
    for (size_t s = from; s < to; s++)
      std::memcpy(bytes(slots[s]), run_.data() + (slots_[size_t(slots[s])].row * width - start), size_t(width));
  }
  for (size_t s = from; s < to; s++) slots_[size_t(slots[s])].there = true;
}

void Reading::need(const int64_t* rows, int64_t count) {
  const auto start = std::chrono::steady_clock::now();
  DiskCounts& counts = rows_.counts();
  int64_t early = 0;
  std::vector<int64_t> missing;
  for (int64_t r = 0; r < count; r++) {
    int64_t slot = slot_of(rows[r]);
    if (slot < 0) slot = add(rows[r], false);
    Slot& mine = slots_[size_t(slot)];
    early += mine.early, mine.early = false;
    const int64_t from = mine.row * rows_.width();
    if (!mine.there && !(mine.there = rows_.read(from, from + rows_.width(), bytes(slot), room_, false)))
      missing.push_back(slot);
  }
  const auto row = [&](size_t i) { return slots_[size_t(missing[i])].row; };
  std::sort(missing.begin(), missing.end(),
            [&](int64_t a, int64_t b) { return slots_[size_t(a)].row < slots_[size_t(b)].row; });
  const auto end_of_run = [&](size_t from) {
    size_t to = from + 1;
    while (to < missing.size() && (row(to) - row(to - 1) - 1) * rows_.width() < kNear) to++;
    return to;
  };
  // All are under way before the first is waited for.
  for (size_t from = 0, to; missing.size() > 1 && from < missing.size(); from = to) {
    to = end_of_run(from);
    rows_.fetch(row(from) * rows_.width(), (row(to - 1) + 1) * rows_.width());
  }
  for (size_t from = 0, to; from < missing.size(); from = to) run(missing, from, to = end_of_run(from));
  const auto took = std::chrono::steady_clock::now() - start;
  counts.rounds.fetch_add(1, std::memory_order_relaxed);
  counts.wanted.fetch_add(count, std::memory_order_relaxed);
  counts.early.fetch_add(early, std::memory_order_relaxed);
  counts.ready.fetch_add(count - int64_t(missing.size()), std::memory_order_relaxed);
  counts.unused.fetch_add(asked_ - early, std::memory_order_relaxed);
  asked_ = 0;
  const int64_t nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
  counts.nanoseconds.fetch_add(nanoseconds, std::memory_order_relaxed);
}

const uint8_t* Reading::at(int64_t row) const { return bytes_.data() + slot_of(row) * rows_.width(); }

}  // namespace nearfield
