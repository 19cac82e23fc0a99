// The places of spikes: IntEventKernels' lists and counts. Included inside the integer kernels'
// .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Bytes of 0 or 1, 64 of them, as bits.
SPIKECONV_INLINE uint64_t fired(const uint8_t* from) {
#if SPIKECONV_LANES == 16
  const __m512i bytes = _mm512_loadu_si512(from);
  return _mm512_test_epi8_mask(bytes, bytes);
#elif SPIKECONV_LANES == 8
  const auto half = [&](int at) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7)));
  };
  return half(0) | static_cast<uint64_t>(half(32)) << 32;
#elif defined(SPIKECONV_X86)
  uint64_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i));
    bits |= static_cast<uint64_t>(_mm_movemask_epi8(_mm_slli_epi16(bytes, 7))) << 16 * i;
  }
  return bits;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) {
    bits |= static_cast<uint64_t>(from[i]) << i;
  }
  return bits;
#endif
}

SPIKECONV_INLINE uint64_t lowest(int64_t count) {
  return count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0};
}

#if SPIKECONV_LANES == 16

// Places of 16 neighbouring bytes, which may be spikes.
struct Candidates {
  __m512i values;

  SPIKECONV_MEMBER static Candidates from(int64_t byte) {
    const __m512i steps =
        _mm512_set_epi32(120, 112, 104, 96, 88, 80, 72, 64, 56, 48, 40, 32, 24, 16, 8, 0);
    return {_mm512_add_epi32(steps, _mm512_set1_epi32(static_cast<int>(8 * byte)))};
  }
  // Writes those whose bits are set; returns where the next ones go.
  SPIKECONV_MEMBER uint16_t* write(uint64_t bits, uint16_t* to) const {
    const auto mask = static_cast<__mmask16>(bits);
    const __m512i set = _mm512_maskz_compress_epi32(mask, values);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtepi32_epi16(0xffff, set));
    return to + __builtin_popcount(mask);
  }
};
constexpr int kCandidates = 16;

#else

// The places of the bits of a byte, and how many there are.
struct PlacesOfByte {
  alignas(16) uint16_t places[256][8];
  uint8_t counts[256];

  constexpr PlacesOfByte() : places(), counts() {
    for (int byte = 0; byte < 256; ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) {
          places[byte][counts[byte]++] = static_cast<uint16_t>(8 * bit);
        }
      }
    }
  }
};
static constexpr PlacesOfByte kOfByte;

// Places of eight neighbouring bytes, which may be spikes.
struct Candidates {
  typedef uint16_t Eight __attribute__((vector_size(16)));
  Eight first;

  SPIKECONV_MEMBER static Candidates from(int64_t byte) {
    return {Eight{} + static_cast<uint16_t>(8 * byte)};
  }
  SPIKECONV_MEMBER uint16_t* write(uint64_t bits, uint16_t* to) const {
    const auto byte = static_cast<uint8_t>(bits);
    Eight set;
    __builtin_memcpy(&set, kOfByte.places[byte], sizeof set);
    set += first;
    __builtin_memcpy(to, &set, sizeof set);
    return to + kOfByte.counts[byte];
  }
};
constexpr int kCandidates = 8;

#endif

// No branch depends on a spike.
static int32_t list_events(const uint8_t* spikes, int64_t pixels, int64_t channels,
                           uint16_t* places, int32_t at, int32_t* from) {
  uint16_t* to = places + at;
  int64_t byte = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    from[pixel] = static_cast<int32_t>(to - places);
    const int64_t end = byte + channels;
    for (; byte < end; byte += 64) {
      uint64_t bits = fired(spikes + byte) & lowest(end - byte);
      for (int i = 0; i < 64 && byte + i < end; i += kCandidates) {
        to = Candidates::from(byte + i).write(bits, to);
        bits >>= kCandidates;
      }
    }
    byte = end;
  }
  from[pixels] = static_cast<int32_t>(to - places);
  return from[pixels];
}

static int64_t count_events(const uint8_t* spikes, int64_t bytes) {
  int64_t count = 0;
  for (int64_t at = 0; at < bytes; at += 64) {
    count += __builtin_popcountll(fired(spikes + at) & lowest(bytes - at));
  }
  return count;
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
