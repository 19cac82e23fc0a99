// One number, or as many as an instruction holds: the types and the memory accesses that the
// kernels are written in. Included inside their headers only, once per instruction set, with
// SPIKECONV_ISA and SPIKECONV_LANES set; see if_multistep_kernel.h why nothing here may have
// external linkage under a name that two instruction sets share.
#pragma once

#include "half.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

struct One {
  static constexpr int kCount = 1;
  using Real = float;
  using Mask = bool;
  using Int = int32_t;
  using Word = uint32_t;
  using Half = uint16_t;
  using Byte = uint8_t;
};

struct Many {
  static constexpr int kCount = SPIKECONV_LANES;
  typedef float Real __attribute__((vector_size(4 * kCount)));
  typedef int32_t Int __attribute__((vector_size(4 * kCount)));
  typedef uint32_t Word __attribute__((vector_size(4 * kCount)));
  typedef uint16_t Half __attribute__((vector_size(2 * kCount)));
  typedef uint8_t Byte __attribute__((vector_size(kCount)));
  using Mask = Int;  // 0 or -1 in each lane
};

template <class Value>
SPIKECONV_INLINE Value load(const void* from) {
  Value value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

template <class Value>
SPIKECONV_INLINE void store(void* to, Value value) {
  __builtin_memcpy(to, &value, sizeof value);
}

// Stores around the caches where there is an instruction for it. `to` is aligned to its size.
template <class Value>
SPIKECONV_INLINE void store_streaming(void* to, Value value) {
#if SPIKECONV_LANES >= 16
  if constexpr (sizeof(Value) == 64) {
    _mm512_stream_si512(static_cast<__m512i*>(to), same_bits<__m512i>(value));
    return;
  }
#endif
#if SPIKECONV_LANES >= 8
  if constexpr (sizeof(Value) == 32) {
    _mm256_stream_si256(static_cast<__m256i*>(to), same_bits<__m256i>(value));
    return;
  }
#endif
#if defined(__x86_64__)
  if constexpr (sizeof(Value) == 16) {
    _mm_stream_si128(static_cast<__m128i*>(to), same_bits<__m128i>(value));
    return;
  }
#endif
  store(to, value);
}

template <class L, class To, class From>
SPIKECONV_INLINE To convert(From from) {
  if constexpr (L::kCount == 1) {
    return static_cast<To>(from);
  } else {
    return __builtin_convertvector(from, To);
  }
}

// Conversions lane by lane. Where GCC takes that of a whole vector apart, the instruction is named;
// its masked form where the other has an undefined value inside it, of which GCC 12 warns.

template <class L>
SPIKECONV_INLINE typename L::Word widen(typename L::Half half) {
  using Word = typename L::Word;
#if SPIKECONV_LANES == 16
  if constexpr (L::kCount == 16) {
    return same_bits<Word>(_mm512_maskz_cvtepu16_epi32(0xffff, same_bits<__m256i>(half)));
  }
#elif SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    return same_bits<Word>(_mm256_cvtepu16_epi32(same_bits<__m128i>(half)));
  }
#endif
  return convert<L, Word>(half);
}

template <class L>
SPIKECONV_INLINE typename L::Real widen_float16(typename L::Half half) {
  using Real = typename L::Real;
#if SPIKECONV_LANES == 16
  if constexpr (L::kCount == 16) {
    return same_bits<Real>(_mm512_maskz_cvtph_ps(0xffff, same_bits<__m256i>(half)));
  }
#elif SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    return same_bits<Real>(_mm256_cvtph_ps(same_bits<__m128i>(half)));
  }
#endif
  return real_of_float16<Real>(widen<L>(half));
}

// The low 16 bits of words that have no others.
template <class L>
SPIKECONV_INLINE typename L::Half narrow_to_half(typename L::Word word) {
  using Half = typename L::Half;
#if SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    const __m256i wide = same_bits<__m256i>(word);
    return same_bits<Half>(
        _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
  }
#endif
  return convert<L, Half>(word);
}

// Rounds to the nearest float16, ties to even.
template <class L>
SPIKECONV_INLINE typename L::Half narrow_float16(typename L::Real value) {
#if SPIKECONV_LANES == 16
  if constexpr (L::kCount == 16) {
    return same_bits<typename L::Half>(
        _mm512_maskz_cvtps_ph(0xffff, same_bits<__m512>(value), _MM_FROUND_TO_NEAREST_INT));
  }
#elif SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    return same_bits<typename L::Half>(
        _mm256_cvtps_ph(same_bits<__m256>(value), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  return narrow_to_half<L>(float16_of<typename L::Word>(value));
}

// The low 8 bits of a spike that is 1, -1 or 0.
template <class L>
SPIKECONV_INLINE typename L::Byte narrow_to_byte(typename L::Word word) {
  using Byte = typename L::Byte;
#if SPIKECONV_LANES == 16
  if constexpr (L::kCount == 16) {
    return same_bits<Byte>(_mm512_maskz_cvtepi32_epi8(0xffff, same_bits<__m512i>(word)));
  }
#elif SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    const __m256i wide = same_bits<__m256i>(word);
    const __m128i half =
        _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    return same_bits<Byte>(_mm_cvtsi128_si64(_mm_packs_epi16(half, half)));
  }
#endif
  return convert<L, Byte>(word);
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
