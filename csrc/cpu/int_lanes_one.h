// int_lanes.h where one register of AVX-512 holds all sixteen.
#pragma once

namespace spikeconv::cpu::SPIKECONV_ISA {

// A register or memory, for instructions written out; Clang would take memory always.
#if defined(__clang__)
#define SPIKECONV_ANYWHERE "v"
#else
#define SPIKECONV_ANYWHERE "vm"
#endif

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
// sum + low a * low b + high a * high b, where both halves have 16 bits and a sign.
SPIKECONV_INLINE Int add_pairs(Int sum, Int a, Int b) {
#if defined(SPIKECONV_VNNI)
  // Around the intrinsic GCC 12 would copy the sum to another register and back.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum.value) : "v"(a.value), SPIKECONV_ANYWHERE(b.value));
  return sum;
#else
  return {_mm512_add_epi32(sum.value, _mm512_madd_epi16(a.value, b.value))};
#endif
}
SPIKECONV_INLINE Int power_of_two(int exponent) {
  return {_mm512_set1_epi32(static_cast<int>(1u << exponent))};
}
SPIKECONV_INLINE Int shift_left(Int a, int bits) {
  return {_mm512_maskz_sllv_epi32(0xffff, a.value, _mm512_set1_epi32(bits))};
}
SPIKECONV_INLINE Int widen(const uint8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm512_maskz_cvtepu8_epi32(0xffff, bytes)};
}
// Each of 16 bytes in the lowest and in the highest byte of its lane.
SPIKECONV_INLINE Int spread(const uint8_t* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return {_mm512_shuffle_epi8(_mm512_maskz_broadcast_i32x4(0xffff, bytes), load(kSpread).value)};
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

// Writes 0 or 1, or where signed 0, 1 or 2 (a zero point of 1), for all channels or the first
// `count`.
template <bool kSigned, bool kWhole>
SPIKECONV_INLINE void store_spikes(uint8_t* to, Mask plus, Mask minus, int count) {
  __m128i one = _mm_set1_epi8(1);
  asm("" : "+v"(one));  // kept in a register, not made of a scalar each time
  __m128i bytes;
  if constexpr (kSigned) {
    bytes = _mm_mask_add_epi8(one, plus, one, one);
    bytes = _mm_mask_sub_epi8(bytes, minus, bytes, one);
  } else {
    bytes = _mm_maskz_mov_epi8(plus, one);
  }
  if constexpr (kWhole) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
  } else {
    _mm_mask_storeu_epi8(to, static_cast<Mask>((1u << count) - 1), bytes);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
