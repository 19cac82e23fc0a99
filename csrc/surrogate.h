// What stands for the derivative of a spike in the backward pass, for one number or a vector of
// them. spikeconv/surrogate.py is the definition: the same operations in the same order.
#pragma once

#include "half.h"
#include "types.h"

namespace spikeconv {

// The numbers of a surrogate's formula, as its Python class computes them.
struct SurrogateNumbers {
  float a;
  float b;
};

// exp(y) for y <= 0, not below exp(-87). A scalar minus Real{} is that scalar in every lane.
template <class Word, class Real>
SPIKECONV_INLINE Real exp_below_zero(Real y) {
  y = y < -87.0f ? -87.0f - Real{} : y;
  const Real shifted = y * 1.442695f + 12582912.0f;  // rounds to an integer in the last bits
  const Real k = shifted - 12582912.0f;
  const Real r = (y - k * 0.693359375f) - k * -2.1219444e-4f;
  Real q = r * 0.0013814468f + 0.008368781f;
  q = q * r + 0.041668393f;
  q = q * r + 0.1666652f;
  q = q * r + 0.49999994f;
  const Real power = same_bits<Real>(Word((same_bits<Word>(shifted) << 23) + 0x3f800000u));
  return ((q * (r * r) + r) + 1.0f) * power;
}

// The derivative at u = m - theta.
template <Surrogate kSurrogate, class Word, class Real>
SPIKECONV_INLINE Real slope_at(Real u, SurrogateNumbers n) {
  if constexpr (kSurrogate == Surrogate::kATan) {
    const Real z = u * n.a;
    return n.b / (z * z + 1.0f);
  } else {
    const Real distance = same_bits<Real>(Word(same_bits<Word>(u) & 0x7fffffffu));
    if constexpr (kSurrogate == Surrogate::kSigmoid) {
      const Real e = exp_below_zero<Word>(-(distance * n.a));
      const Real d = e + 1.0f;
      return (e * n.a) / (d * d);
    } else {
      const Real h = n.a - distance * n.b;
      return h < 0.0f ? Real{} : h;  // NaN stays NaN
    }
  }
}

}  // namespace spikeconv
