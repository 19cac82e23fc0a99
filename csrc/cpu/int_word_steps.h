// A chain's steps where layers are looked up, with the conversions that these need.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/int_chain.h"

namespace spikeconv::cpu {

struct IntWordSteps {
  std::vector<IntStep> steps;
  std::vector<IntWordForm> words;
};

// Spikes are converted before the first step that reads them otherwise than they were written.
IntWordSteps steps_with_words(const IntParts& parts, const IntChain& chain);

}  // namespace spikeconv::cpu
