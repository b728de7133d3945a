// A bit a row: which rows a filter lets through.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace nearfield {

inline bool has(const uint64_t* bits, int64_t row) { return bits[row >> 6] >> (row & 63) & 1; }

// How many bits of a word are set, without an instruction that old processors lack.
inline int64_t bits_in(uint64_t w) {
  w -= w >> 1 & 0x5555555555555555ull;
  w = (w & 0x3333333333333333ull) + (w >> 2 & 0x3333333333333333ull);
  w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0full;
  w += w >> 8, w += w >> 16, w += w >> 32;
  return int64_t(w & 127);
}

// How many of the first n bits are set.
inline int64_t count_bits(const uint64_t* bits, int64_t n) {
  int64_t count = 0;
  for (int64_t w = 0; w < n >> 6; w++) count += bits_in(bits[w]);
  if (n & 63) count += bits_in(bits[n >> 6] & ((uint64_t(1) << (n & 63)) - 1));
  return count;
}

// A byte a row, zero or not, to bits; returns how many are set.
inline int64_t pack_flags(const uint8_t* flags, int64_t n, uint64_t* bits) {
  int64_t count = 0;
  for (int64_t w = 0; w < (n + 63) / 64; w++) {
    uint64_t word = 0;
    int64_t r = 64 * w;
#if defined(__SSE2__)
    for (; r + 16 <= n && r < 64 * w + 64; r += 16) {
      const __m128i some = _mm_loadu_si128((const __m128i*)(flags + r));
      const int none = _mm_movemask_epi8(_mm_cmpeq_epi8(some, _mm_setzero_si128()));
      word |= uint64_t(~none & 0xffff) << (r & 63);
    }
#endif
    for (; r < n && r < 64 * w + 64; r++) word |= uint64_t(flags[r] != 0) << (r & 63);
    bits[w] = word;
    count += bits_in(word);
  }
  return count;
}

// Some of n rows, quickly forgotten.
class RowSet {
 public:
  explicit RowSet(int64_t n) : bits_(size_t(n + 63) / 64) {}
  // Whether the row is new.
  bool add(uint32_t row) {
    uint64_t& word = bits_[row >> 6];
    const uint64_t bit = uint64_t(1) << (row & 63);
    if (word & bit) return false;
    word |= bit;
    listed_.push_back(row);
    return true;
  }
  void clear() {
    for (const uint32_t row : listed_) bits_[row >> 6] = 0;
    listed_.clear();
  }

 private:
  std::vector<uint64_t> bits_;
  std::vector<uint32_t> listed_;
};

// The rows of a bitmap, ascending; -1 behind the last.
class Matches {
 public:
  Matches(const uint64_t* bits, int64_t n) : bits_(bits), words_((n + 63) / 64), n_(n), word_(words_ ? bits[0] : 0) {}
  int64_t next() {
    while (!word_) {
      if (++at_ >= words_) return -1;
      word_ = bits_[at_];
    }
    const int64_t row = 64 * at_ + std::countr_zero(word_);
    word_ &= word_ - 1;
    return row < n_ ? row : -1;
  }

 private:
  const uint64_t* bits_;
  int64_t words_, n_, at_ = 0;
  uint64_t word_;
};

}  // namespace nearfield
