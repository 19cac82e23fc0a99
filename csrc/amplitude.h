// What a spike looks like in memory: the bit pattern of +1 spikes, of which -1 spikes are the
// negative. A neuron's pattern stays the same over the steps, so it is made once.
#pragma once

#include "stored.h"

namespace spikeconv {

template <Dtype kDtype, Emit kEmit>
SPIKECONV_INLINE uint32_t amplitude_of(float theta) {
  if constexpr (kEmit == Emit::kPsp) {
    return stored<kDtype>(theta);
  } else if constexpr (kEmit == Emit::kSpikes) {
    return stored<kDtype>(1.0f);
  } else {
    return 1;
  }
}

// The pattern of the negative: of an integer in two's complement, of a float with the sign flipped.
template <Dtype kDtype, Emit kEmit, class Word>
SPIKECONV_INLINE Word negative_of(Word amplitude) {
  if constexpr (kEmit == Emit::kUint8) {
    return Word{} - amplitude;
  } else if constexpr (kDtype == Dtype::kFloat32) {
    return amplitude ^ 0x80000000u;
  } else {
    return amplitude ^ 0x8000u;
  }
}

}  // namespace spikeconv
