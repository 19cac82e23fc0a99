// One number, or as many as an instruction holds: the types and the memory accesses that the kernel
// is written in. Included inside if_multistep_kernel.h only, once per instruction set, with
// SPIKECONV_ISA and SPIKECONV_LANES set; see there why nothing here may have external linkage
// under a name that two instruction sets share.
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

// Converts integers lane by lane.
template <class L, class To, class From>
SPIKECONV_INLINE To convert(From from) {
  if constexpr (L::kCount == 1) {
    return static_cast<To>(from);
  } else {
    return __builtin_convertvector(from, To);
  }
}

// float16 to float.
template <class L>
SPIKECONV_INLINE typename L::Real widen_float16(typename L::Half half) {
#if SPIKECONV_LANES == 16
  if constexpr (L::kCount == 16) {
    // The unmasked form makes GCC 12 warn of the undefined value inside it.
    return same_bits<typename L::Real>(_mm512_maskz_cvtph_ps(0xffff, same_bits<__m256i>(half)));
  }
#elif SPIKECONV_LANES == 8
  if constexpr (L::kCount == 8) {
    return same_bits<typename L::Real>(_mm256_cvtph_ps(same_bits<__m128i>(half)));
  }
#endif
  return real_of_float16<typename L::Real>(convert<L, typename L::Word>(half));
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
