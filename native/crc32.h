// CRC-32 as zlib, gzip and PNG have it: eight bytes at a time.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace nearfield {

using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr CrcTables crc_tables() {
  CrcTables t = {};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (size_t k = 1; k < 8; k++) t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 255];
  return t;
}

inline uint32_t crc32(const uint8_t* data, int64_t size) {
  static constexpr CrcTables t = crc_tables();
  uint32_t c = 0xffffffffu;
  if constexpr (std::endian::native == std::endian::little)
    for (; size >= 8; size -= 8, data += 8) {
      uint32_t low, high;
      std::memcpy(&low, data, 4), std::memcpy(&high, data + 4, 4);
      low ^= c;
      c = t[7][low & 255] ^ t[6][low >> 8 & 255] ^ t[5][low >> 16 & 255] ^ t[4][low >> 24] ^ t[3][high & 255] ^
          t[2][high >> 8 & 255] ^ t[1][high >> 16 & 255] ^ t[0][high >> 24];
    }
  for (; size > 0; size--, data++) c = c >> 8 ^ t[0][(c ^ *data) & 255];
  return ~c;
}

}  // namespace nearfield
