// What passes between the torch side of the CPU operator (if_multistep.cpp) and its kernels, which
// are compiled once per instruction set. Knows neither torch nor the standard library.
#pragma once

#include <stdint.h>

#include "types.h"

namespace spikeconv::cpu {

// A block of neurons whose operands lie side by side in memory, for some consecutive steps. Every
// pointer is at the block's first neuron; rows are one step apart and strides count elements.
struct IfBlock {
  int64_t neurons;
  int64_t steps;
  const void* x;  // [steps, neurons] in its dtype
  int64_t x_stride;
  const float* theta;         // [neurons]
  const float* bias;          // [neurons], kNoBias where there is none
  float* v;                   // [neurons], updated
  int32_t* net;               // [neurons], updated; signed neurons only
  const uint32_t* amplitude;  // [neurons], the stored pattern of a positive spike
  void* emitted;              // [steps, neurons]; words and counts: [neurons], updated
  int64_t emitted_stride;
  float* trace;  // [steps, neurons]: v after each step
  int64_t trace_stride;
  uint32_t first_bit;  // words: the first step's bit
  float v_reset;
  bool hard;
  bool streaming;  // write around the caches; rows and their strides are multiples of 64 bytes
};

using IfAdvance = void (*)(const IfBlock& block);

// The kernel for a combination. kPsp and kSpikes share one: they differ in the amplitude only.
namespace baseline {
IfAdvance if_advance(Dtype dtype, Emit emit, bool is_signed, bool trace);
}
#if defined(__x86_64__)
namespace avx2 {
IfAdvance if_advance(Dtype dtype, Emit emit, bool is_signed, bool trace);
}
namespace avx512 {
IfAdvance if_advance(Dtype dtype, Emit emit, bool is_signed, bool trace);
}
#endif

}  // namespace spikeconv::cpu
