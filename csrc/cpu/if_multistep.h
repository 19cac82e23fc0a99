// What passes between the torch side of the CPU operator (if_multistep.cpp) and its kernels, which
// are compiled once per instruction set. Knows neither torch nor the standard library.
#pragma once

#include <stdint.h>

#include "types.h"

namespace spikeconv::cpu {

// A value for each neuron of a block: neuron i has data[i * step]. Step 0 is one value for all, and
// then kMaxLanes copies of it lie at data.
template <class Value>
struct IfInput {
  const Value* data;
  int64_t step;  // 0 or 1
};

constexpr int kMaxLanes = 16;

// Neighbours for which one value of a bias with time may stand: a multiple of a kernel's vector.
constexpr int kGroup = 64;

// A block of neighbouring neurons for some consecutive steps. Every pointer is at the block's first
// neuron; rows are one step apart and strides count elements.
struct IfBlock {
  int64_t neurons;
  int64_t steps;
  const void* x;  // [steps, neurons] in its dtype
  int64_t x_stride;
  IfInput<float> theta;
  IfInput<float> bias;  // where it has time, of the first of these steps
  int64_t bias_stride;  // with time only: elements from step to step
  bool bias_grouped;    // likewise: neuron i has data[i / kGroup * kMaxLanes], and copies follow
  IfInput<float> v_before;      // before the first of these steps
  IfInput<int32_t> net_before;  // likewise; signed neurons only
  IfInput<uint32_t> amplitude;  // the stored pattern of a positive spike
  float* v;                     // [neurons], after the last of these steps
  int32_t* net;                 // [neurons], likewise
  void* emitted;                // [steps, neurons]; words and counts: [neurons], added to
  int64_t emitted_stride;
  float* trace;  // [steps, neurons]: v after each step
  int64_t trace_stride;
  uint32_t first_bit;  // words: the first step's bit
  float v_reset;
  bool hard;
  bool tie_fires;
  bool first;  // nothing was added to words and counts yet
  // Write around the caches; rows and their strides are multiples of 64 bytes.
  bool stream_emitted;
  bool stream_trace;
};

using IfAdvance = void (*)(const IfBlock& block);

// What a step adds and resets to.
enum class IfStep {
  kPlain,  // no bias, soft reset
  kFull,   // the same bias at every step
  kTimed,  // a bias of its own for every step
};

// What a kernel is compiled for, beside the instruction set.
struct IfVariant {
  Dtype dtype;
  Emit emit;  // kPsp is kSpikes here: the two differ in the amplitude only
  bool is_signed;
  bool trace;
  IfStep step;
};

namespace baseline {
IfAdvance if_advance(const IfVariant& variant);
}
#if defined(__x86_64__)
namespace avx2 {
IfAdvance if_advance(const IfVariant& variant);
}
namespace avx512 {
IfAdvance if_advance(const IfVariant& variant);
}
#endif

}  // namespace spikeconv::cpu
