// Sixteen int32 at a time, in as many registers as the instruction set needs. Included inside the
// integer kernels' .cpp files only, with SPIKECONV_ISA and SPIKECONV_LANES (int32 in a register)
// set; see if_multistep_kernel.h why nothing here may have external linkage.
//
// Arithmetic is modulo 2^32: true results lie in int32, and what is on the way may wrap.
#pragma once

#include "cpu/int_tile.h"
#include "if_neuron.h"

// SPIKECONV_PORTABLE: plain C++ in place of SSE2, as on other processors; tests set it.
#if defined(__x86_64__) && !defined(SPIKECONV_PORTABLE)
#define SPIKECONV_X86
#endif

// Like SPIKECONV_INLINE, for a member function.
#define SPIKECONV_MEMBER inline __attribute__((always_inline))

// Before a loop of up to 24 rounds over registers.
#if defined(__clang__)
#define SPIKECONV_UNROLL_ALL _Pragma("unroll")
#else
#define SPIKECONV_UNROLL_ALL _Pragma("GCC unroll 24")
#endif

namespace spikeconv::cpu::SPIKECONV_ISA {

#if SPIKECONV_LANES == 16

struct Int {
  __m512i value;
};
using Mask = __mmask16;

SPIKECONV_INLINE Int load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
SPIKECONV_INLINE void store(int32_t* to, Int a) { _mm512_storeu_si512(to, a.value); }
SPIKECONV_INLINE Int zeros() { return {_mm512_setzero_si512()}; }
SPIKECONV_INLINE Int add(Int a, Int b) { return {_mm512_add_epi32(a.value, b.value)}; }
// The same, made before what is added to it later: compilers would change the order of additions.
SPIKECONV_INLINE Int first(Int a) {
  asm("" : "+v"(a.value));
  return a;
}
SPIKECONV_INLINE Int multiply(Int a, Int b) { return {_mm512_mullo_epi32(a.value, b.value)}; }
// sum + a * b, where a is from 0 to 32767 and b has 16 bits.
SPIKECONV_INLINE Int add_products_16(Int sum, Int a, Int b) {
#if defined(SPIKECONV_VNNI)
  // Around the intrinsic GCC 12 would copy the sum to another register and back.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.value) : "v"(a.value), "v"(b.value));
  return sum;
#else
  return {_mm512_add_epi32(sum.value, _mm512_madd_epi16(a.value, b.value))};
#endif
}
SPIKECONV_INLINE Int shift_left(Int a, int bits) {
  return {_mm512_maskz_sllv_epi32(0xffff, a.value, _mm512_set1_epi32(bits))};
}
SPIKECONV_INLINE Int widen(const uint8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm512_maskz_cvtepu8_epi32(0xffff, bytes)};
}
SPIKECONV_INLINE Int minus_one(Int a) { return {_mm512_sub_epi32(a.value, _mm512_set1_epi32(1))}; }
SPIKECONV_INLINE Mask above(Int a, Int b) { return _mm512_cmpgt_epi32_mask(a.value, b.value); }
SPIKECONV_INLINE Mask below_zero_and_above(Int a, Int b) {
  const Mask below = _mm512_movepi32_mask(a.value);
  return _mm512_mask_cmpgt_epi32_mask(below, b.value, _mm512_setzero_si512());
}
SPIKECONV_INLINE Int add_where(Mask mask, Int a, Int b) {
  return {_mm512_mask_add_epi32(a.value, mask, a.value, b.value)};
}
SPIKECONV_INLINE Int subtract_where(Mask mask, Int a, Int b) {
  return {_mm512_mask_sub_epi32(a.value, mask, a.value, b.value)};
}
SPIKECONV_INLINE Int increment_where(Mask mask, Int a) {
  return add_where(mask, a, {_mm512_set1_epi32(1)});
}
SPIKECONV_INLINE Int decrement_where(Mask mask, Int a) {
  return subtract_where(mask, a, {_mm512_set1_epi32(1)});
}

// Writes 0 or 1, or where signed 0, 1 or 2 (a zero point of 1), for the first `count` channels.
template <bool kSigned>
SPIKECONV_INLINE void store_spikes(uint8_t* to, Mask plus, Mask minus, int count) {
  __m128i one = _mm_set1_epi8(1);
  asm("" : "+v"(one));  // kept in a register, not made of a scalar each time
  __m128i bytes = _mm_maskz_mov_epi8(plus, kSigned ? _mm_add_epi8(one, one) : one);
  if constexpr (kSigned) {
    bytes = _mm_mask_mov_epi8(bytes, static_cast<Mask>(~(plus | minus)), one);
  }
  if (count >= kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  } else {
    _mm_mask_storeu_epi8(to, static_cast<Mask>((1u << count) - 1), bytes);
  }
}

#else

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
SPIKECONV_INLINE Int add_products_16(const Int& sum, const Int& a, const Int& b) {
#if SPIKECONV_LANES == 8
  return each([&](int i) {
    return sum.parts[i] + Part(_mm256_madd_epi16(__m256i(a.parts[i]), __m256i(b.parts[i])));
  });
#elif defined(SPIKECONV_X86)
  return each([&](int i) {
    return sum.parts[i] + Part(_mm_madd_epi16(__m128i(a.parts[i]), __m128i(b.parts[i])));
  });
#else
  return add(sum, multiply(a, b));
#endif
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

template <bool kSigned>
SPIKECONV_INLINE void store_spikes(uint8_t* to, const Mask& plus, const Mask& minus, int count) {
  const uint8_t zero = kSigned ? 1 : 0;
  // A mask is -1.
  const Int below =
      each([&](int i) { return plus.parts[i] - (kSigned ? minus.parts[i] : Part{}); });
  if (count >= kLanes) {
    return store_below(to, zero, below);
  }
  uint8_t bytes[kLanes];
  store_below(bytes, zero, below);
  for (int i = 0; i < count; ++i) {
    to[i] = bytes[i];
  }
}

#endif

}  // namespace spikeconv::cpu::SPIKECONV_ISA
