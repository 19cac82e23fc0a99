// Sixteen rows of sixteen bytes become columns: from channels outermost to channels innermost, and
// back.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace spikeconv::cpu {

constexpr int kSquare = 16;

struct alignas(16) ByteSquare {
  uint8_t rows[kSquare][kSquare];
};

inline void transpose(ByteSquare& square) {
#if defined(__x86_64__)
  __m128i a[kSquare], b[kSquare];
  for (int i = 0; i < kSquare; ++i) {
    a[i] = _mm_load_si128(reinterpret_cast<const __m128i*>(square.rows[i]));
  }
  // Each pass interleaves rows i and i + 8, as if a deck of cards were shuffled; after four of
  // them, byte j of row i has become byte i of row j.
  for (int pass = 0; pass < 4; ++pass) {
    for (int i = 0; i < kSquare / 2; ++i) {
      b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + kSquare / 2]);
      b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + kSquare / 2]);
    }
    for (int i = 0; i < kSquare; ++i) {
      a[i] = b[i];
    }
  }
  for (int i = 0; i < kSquare; ++i) {
    _mm_store_si128(reinterpret_cast<__m128i*>(square.rows[i]), a[i]);
  }
#else
  for (int i = 0; i < kSquare; ++i) {
    for (int j = 0; j < i; ++j) {
      const uint8_t byte = square.rows[i][j];
      square.rows[i][j] = square.rows[j][i];
      square.rows[j][i] = byte;
    }
  }
#endif
}

}  // namespace spikeconv::cpu
