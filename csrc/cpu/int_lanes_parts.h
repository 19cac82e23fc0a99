// int_lanes.h where it takes several registers, of AVX2, SSE2 or whatever the compiler has.
#pragma once

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kParts = kLanes / SPIKECONV_LANES;

typedef uint32_t Part __attribute__((vector_size(4 * SPIKECONV_LANES)));
typedef int32_t SignedPart __attribute__((vector_size(4 * SPIKECONV_LANES)));

struct Int {
  Part parts[kParts];
};
using Mask = Int;  // all bits of a channel, or none

template <class Operation>
SPIKECONV_INLINE Int each(Operation operation) {
  Int result;
  SPIKECONV_UNROLL
  for (int i = 0; i < kParts; ++i) {
    result.parts[i] = operation(i);
  }
  return result;
}

// Register by register: a copy of the whole would go over the stack.
SPIKECONV_INLINE Int load(const int32_t* from) {
  return each([&](int i) {
    Part part;
    __builtin_memcpy(&part, from + i * SPIKECONV_LANES, sizeof part);
    return part;
  });
}
SPIKECONV_INLINE void store(int32_t* to, const Int& a) {
  SPIKECONV_UNROLL
  for (int i = 0; i < kParts; ++i) {
    __builtin_memcpy(to + i * SPIKECONV_LANES, &a.parts[i], sizeof(Part));
  }
}
SPIKECONV_INLINE Int zeros() {
  return each([&](int) { return Part{}; });
}
SPIKECONV_INLINE Int add(const Int& a, const Int& b) {
  return each([&](int i) { return a.parts[i] + b.parts[i]; });
}
SPIKECONV_INLINE Int first(const Int& a) {
  return each([&](int i) {
    Part part = a.parts[i];
#if defined(SPIKECONV_X86)
    asm("" : "+x"(part));
#endif
    return part;
  });
}
SPIKECONV_INLINE Int multiply(const Int& a, const Int& b) {
  return each([&](int i) { return a.parts[i] * b.parts[i]; });
}
SPIKECONV_INLINE Int add_pairs(const Int& sum, const Int& a, const Int& b) {
#if SPIKECONV_LANES == 8
  return each([&](int i) {
    return sum.parts[i] + Part(_mm256_madd_epi16(__m256i(a.parts[i]), __m256i(b.parts[i])));
  });
#elif defined(SPIKECONV_X86)
  return each([&](int i) {
    return sum.parts[i] + Part(_mm_madd_epi16(__m128i(a.parts[i]), __m128i(b.parts[i])));
  });
#else
  const auto low = [](Part pair) { return Part(SignedPart(pair << 16) >> 16); };
  const auto high = [](Part pair) { return Part(SignedPart(pair) >> 16); };
  return each([&](int i) {
    return sum.parts[i] + low(a.parts[i]) * low(b.parts[i]) + high(a.parts[i]) * high(b.parts[i]);
  });
#endif
}
SPIKECONV_INLINE Int power_of_two(int exponent) {
  return each([&](int) { return Part{} + (1u << exponent); });
}
SPIKECONV_INLINE Int shift_left(const Int& a, int bits) {
  return each([&](int i) { return a.parts[i] << bits; });
}
SPIKECONV_INLINE Int widen(const uint8_t* from) {
#if SPIKECONV_LANES == 8
  return each([&](int i) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i));
    return Part(_mm256_cvtepu8_epi32(bytes));
  });
#elif defined(SPIKECONV_X86)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i zero = _mm_setzero_si128();
  const __m128i low = _mm_unpacklo_epi8(bytes, zero), high = _mm_unpackhi_epi8(bytes, zero);
  return {{Part(_mm_unpacklo_epi16(low, zero)), Part(_mm_unpackhi_epi16(low, zero)),
           Part(_mm_unpacklo_epi16(high, zero)), Part(_mm_unpackhi_epi16(high, zero))}};
#else
  int32_t wide[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    wide[i] = from[i];
  }
  return load(wide);
#endif
}
SPIKECONV_INLINE Int spread(const uint8_t* from) {
#if SPIKECONV_LANES == 8
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m256i twice = _mm256_broadcastsi128_si256(bytes);
  const Int places = load(kSpread);
  return each([&](int i) { return Part(_mm256_shuffle_epi8(twice, __m256i(places.parts[i]))); });
#else
  const Int bytes = widen(from);
  return each([&](int i) { return bytes.parts[i] | bytes.parts[i] << 24; });
#endif
}
// Writes zero - a, a byte each, where a is from -128 to 127.
SPIKECONV_INLINE void store_below(uint8_t* to, uint8_t zero, const Int& a) {
#if defined(SPIKECONV_X86)
#if SPIKECONV_LANES == 8
  // The halves of both parts: every second four channels, put in their order at the end.
  const __m256i wide = _mm256_packs_epi32(__m256i(a.parts[0]), __m256i(a.parts[1]));
  const __m128i low = _mm256_castsi256_si128(wide), high = _mm256_extracti128_si256(wide, 1);
  const __m128i bytes = _mm_shuffle_epi32(_mm_packs_epi16(low, high), _MM_SHUFFLE(3, 1, 2, 0));
#else
  const __m128i low = _mm_packs_epi32(__m128i(a.parts[0]), __m128i(a.parts[1]));
  const __m128i high = _mm_packs_epi32(__m128i(a.parts[2]), __m128i(a.parts[3]));
  const __m128i bytes = _mm_packs_epi16(low, high);
#endif
  const __m128i below = _mm_sub_epi8(_mm_set1_epi8(static_cast<char>(zero)), bytes);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), below);
#else
  int32_t wide[kLanes];
  store(wide, a);
  for (int i = 0; i < kLanes; ++i) {
    to[i] = static_cast<uint8_t>(zero - wide[i]);
  }
#endif
}

SPIKECONV_INLINE Int minus_one(const Int& a) {
  return each([&](int i) { return a.parts[i] - 1; });
}
SPIKECONV_INLINE Mask above(const Int& a, const Int& b) {
  return each([&](int i) { return Part(SignedPart(a.parts[i]) > SignedPart(b.parts[i])); });
}
SPIKECONV_INLINE Mask below_zero_and_above(const Int& a, const Int& b) {
  return each(
      [&](int i) { return Part((SignedPart(a.parts[i]) < 0) & (SignedPart(b.parts[i]) > 0)); });
}
SPIKECONV_INLINE Int add_where(const Mask& mask, const Int& a, const Int& b) {
  return each([&](int i) { return a.parts[i] + (b.parts[i] & mask.parts[i]); });
}
SPIKECONV_INLINE Int subtract_where(const Mask& mask, const Int& a, const Int& b) {
  return each([&](int i) { return a.parts[i] - (b.parts[i] & mask.parts[i]); });
}
SPIKECONV_INLINE Int increment_where(const Mask& mask, const Int& a) {
  return each([&](int i) { return a.parts[i] - mask.parts[i]; });
}
SPIKECONV_INLINE Int decrement_where(const Mask& mask, const Int& a) {
  return each([&](int i) { return a.parts[i] + mask.parts[i]; });
}

template <bool kSigned, bool kWhole>
SPIKECONV_INLINE void store_spikes(uint8_t* to, const Mask& plus, const Mask& minus, int count) {
  const uint8_t zero = kSigned ? 1 : 0;
  // A mask is -1.
  const Int below =
      each([&](int i) { return plus.parts[i] - (kSigned ? minus.parts[i] : Part{}); });
  if constexpr (kWhole) {
    store_below(to, zero, below);
  } else {
    uint8_t bytes[kLanes];
    store_below(bytes, zero, below);
    for (int i = 0; i < count; ++i) {
      to[i] = bytes[i];
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
