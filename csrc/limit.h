// From which membrane potential on a neuron fires.
#pragma once

#include "half.h"

namespace spikeconv {

// m >= limit is m >= theta where a tie fires, else m > theta: then the limit is the next float
// above theta, which is positive and finite, and one comparison serves both.
template <class Word, class Real>
SPIKECONV_INLINE Real limit_of(Real theta, bool tie_fires) {
  return same_bits<Real>(Word(same_bits<Word>(theta) + (tie_fires ? 0u : 1u)));
}

}  // namespace spikeconv
