// What a number looks like in memory as one of the dtypes that x and its gradient may have.
#pragma once

#include "half.h"
#include "types.h"

namespace spikeconv {

// The pattern of `value` stored as kDtype, rounded to nearest, ties to even.
template <Dtype kDtype, class Bits = uint32_t, class Real>
SPIKECONV_INLINE Bits stored(Real value) {
  if constexpr (kDtype == Dtype::kFloat16) {
    return float16_of<Bits>(value);
  } else if constexpr (kDtype == Dtype::kBFloat16) {
    return bfloat16_of<Bits>(value);
  } else {
    return same_bits<Bits>(value);
  }
}

}  // namespace spikeconv
