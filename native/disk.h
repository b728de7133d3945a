// Rows that stay in a file: read by their number, many at a time, and checked when they are first read.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace nearfield {

// What a file no longer holds as it was written.
class DiskFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What searches have asked of the rows, so far.
struct DiskCounts {
  std::atomic<int64_t> searches{0};
  std::atomic<int64_t> rounds{0};    // how often rows were needed, some at once
  std::atomic<int64_t> wanted{0};    // rows that were needed
  std::atomic<int64_t> early{0};     // of those, asked for while the search went on
  std::atomic<int64_t> ready{0};     // of those, there without waiting when they were needed
  std::atomic<int64_t> unused{0};    // asked for, and not needed in the end
  std::atomic<int64_t> reads{0};     // reads that gave bytes
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> nanoseconds{0};  // in which searches stood still for rows
};

// The CRC-32 of every piece of a column, and which pieces have been found to be as they were written.
class Checks {
 public:
  // `offset`: where the column begins in its file; with `name`, for what goes wrong.
  Checks(int64_t size, int64_t piece, const uint32_t* sums, int64_t offset, std::string name)
      : size_(size), piece_(piece), offset_(offset), sums_(sums), name_(std::move(name)),
        done_(size_t((size + piece - 1) / piece)) {}

  int64_t from(int64_t byte) const { return byte / piece_ * piece_; }
  int64_t to(int64_t byte) const { return std::min((byte + piece_ - 1) / piece_ * piece_, size_); }
  // Whether all pieces in which bytes [from, to) lie have been checked.
  bool done(int64_t from, int64_t to) const {
    for (int64_t p = from / piece_; p * piece_ < to; p++)
      if (!done_[size_t(p)].load(std::memory_order_relaxed)) return false;
    return true;
  }
  // Checks the pieces of bytes [from, to); the first of them begins at `bytes`.
  void check(int64_t from, int64_t to, const uint8_t* bytes) const;
  // The same for some bytes of a column that is mapped.
  void touch(const uint8_t* column, int64_t at, int64_t size) const {
    if (!done(at, at + size)) check(at, at + size, column + from(at));
  }
  const std::string& name() const { return name_; }

 private:
  int64_t size_, piece_, offset_;
  const uint32_t* sums_;
  std::string name_;
  mutable std::vector<std::atomic<uint8_t>> done_;  // a byte a piece
};

class DiskRows {
 public:
  // The file's rows lie from `offset` on; `sums` are the CRC-32 of every `piece` bytes of them. The descriptor is
  // duplicated, so that the rows stay what they are whatever becomes of the file's name. `name` is for what goes wrong.
  DiskRows(int file, int64_t offset, int64_t n, int64_t width, int64_t piece, const uint32_t* sums, std::string name);
  ~DiskRows();
  DiskRows(const DiskRows&) = delete;
  DiskRows& operator=(const DiskRows&) = delete;

  int64_t n() const { return n_; }
  int64_t width() const { return width_; }
  DiskCounts& counts() const { return counts_; }

  // Bytes [from, to) of the rows, which are read by whole pieces where they were not checked yet. `wait` false: only if
  // nothing has to be waited for; returns whether they came.
  bool read(int64_t from, int64_t to, uint8_t* out, std::vector<uint8_t>& room, bool wait) const;
  // Has bytes brought into the system's cache, without waiting for them.
  void fetch(int64_t from, int64_t to) const;

 private:
  [[noreturn]] void fault(const char* what, int64_t at) const;

  Checks checks_;
  int file_;
  int64_t offset_, n_, width_;
  mutable DiskCounts counts_;
};

// The rows that one search has asked for; used by one thread at a time.
class Reading {
 public:
  explicit Reading(const DiskRows& rows) : rows_(rows) {}

  void begin();  // of another search
  // The row will probably be needed: taken at once where that costs no waiting, else the system is told to bring it.
  void ask(int64_t row);
  // Brings all these rows; `at` gives their bytes, until `begin`.
  void need(const int64_t* rows, int64_t count);
  const uint8_t* at(int64_t row) const;

 private:
  struct Slot {
    int64_t row;
    bool there, early;  // early: asked for, and not needed so far
  };
  int64_t slot_of(int64_t row) const;  // -1 where it was not asked for
  int64_t add(int64_t row, bool early);
  void grow();
  void run(const std::vector<int64_t>& slots, size_t from, size_t to);
  uint8_t* bytes(int64_t slot) { return bytes_.data() + slot * rows_.width(); }

  const DiskRows& rows_;
  int64_t asked_ = 0;  // rows asked for since rows were last needed
  std::vector<Slot> slots_;
  std::vector<int32_t> table_;
  std::vector<uint8_t> bytes_, room_, run_;
};

}  // namespace nearfield
