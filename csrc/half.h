// float16 and bfloat16 as bit patterns.
//
// The host's conversions are integer arithmetic without branches, so the same lines serve one
// number (uint32_t and float) and a vector of numbers, and they stay exact for subnormals while the
// processor is set to flush those. On the device the hardware converts.
#pragma once

#include <stdint.h>

#include "if_neuron.h"

namespace spikeconv {

template <class To, class From>
SPIKECONV_INLINE To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

template <class Real, class Bits>
SPIKECONV_INLINE Real real_of_bfloat16(Bits bits) {
  return same_bits<Real>(Bits(bits << 16));
}

template <class Real, class Bits>
SPIKECONV_INLINE Real real_of_float16(Bits bits) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(bits)));
  return value;
#else
  const Bits sign = (bits & 0x8000u) << 16;
  const Bits magnitude = bits & 0x7fffu;
  // The exponent's bias grows from 15 to 127, and once more so that infinity stays infinity.
  Bits wide = (magnitude << 13) + (112u << 23);
  wide = magnitude >= 0x7c00u ? wide + (112u << 23) : wide;
  // A subnormal counts units of 2^-24, which is what the last bit of a float in [0.5, 1) is worth.
  const Real small = same_bits<Real>(Bits(magnitude | (126u << 23))) - 0.5f;
  wide = magnitude < 0x400u ? same_bits<Bits>(small) : wide;
  return same_bits<Real>(Bits(wide | sign));
#endif
}

// Rounds to the nearest bfloat16, ties to even.
template <class Bits = uint32_t, class Real>
SPIKECONV_INLINE Bits bfloat16_of(Real value) {
  const Bits bits = same_bits<Bits>(value);
  const Bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u + Bits{} : rounded;
}

// Rounds to the nearest float16, ties to even.
template <class Bits = uint32_t, class Real>
SPIKECONV_INLINE Bits float16_of(Real value) {
#if defined(__CUDA_ARCH__)
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
#else
  const Bits bits = same_bits<Bits>(value);
  const Bits sign = (bits >> 16) & 0x8000u;
  const Bits magnitude = bits & 0x7fffffffu;
  Bits half = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: subnormal. Adding 0.5 rounds to units of 2^-24.
  const Bits small = same_bits<Bits>(Real(same_bits<Real>(magnitude) + 0.5f)) - (126u << 23);
  half = magnitude < 0x38800000u ? small : half;
  half = magnitude >= 0x477ff000u ? 0x7c00u + Bits{} : half;  // from 65520 on: infinity
  half = magnitude > 0x7f800000u ? 0x7e00u + Bits{} : half;   // NaN
  return half | sign;
#endif
}

}  // namespace spikeconv
