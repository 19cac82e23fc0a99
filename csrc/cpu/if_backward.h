// What passes between the torch side of the CPU's backward operator (if_backward.cpp) and its
// kernels, as if_multistep.h has it for the forward one.
#pragma once

#include "cpu/if_multistep.h"
#include "surrogate.h"

namespace spikeconv::cpu {

// Neurons that a kernel takes at once, at most: as many as it needs room for at `potentials`.
constexpr int kMaxTile = 64;

// A block of neighbouring neurons with all their steps. Every pointer is at the block's first
// neuron; gradients are dense, `stride` elements from step to step.
struct BackwardBlock {
  int64_t neurons;
  int64_t steps;
  const void* x;  // [steps, neurons] in its dtype
  int64_t x_stride;
  IfInput<float> theta;
  IfInput<float> v_init;
  IfInput<float> bias;
  int64_t bias_stride;  // 0: the same at every step. Else as in IfBlock, and so is bias_grouped
  bool bias_grouped;
  int64_t stride;
  const void* grad_emitted;  // [steps, neurons] in the dtype of x, or null: 0
  const float* grad_v;       // [neurons], or [steps, neurons] where trace; or null: 0
  const float* slope;        // [steps, neurons]: a surrogate that is given
  void* grad_x;              // this and all below: null where not wanted. [steps, neurons], as x
  float* grad_m;             // [steps, neurons]
  float* grad_sum;           // [neurons], like the others
  float* grad_theta;
  float* grad_v_init;
  float* potentials;  // room for [steps, kMaxTile], or for all neurons where they are fewer
  SurrogateNumbers numbers;
  float v_reset;
  bool tie_fires;
  bool psp;
  bool trace;
  bool detach_reset;
};

using GoBack = void (*)(const BackwardBlock& block);

// What a kernel is compiled for, beside the instruction set.
struct BackwardVariant {
  Dtype dtype;
  Surrogate surrogate;
  bool hard;
};

namespace baseline {
GoBack go_back(const BackwardVariant& variant);
}
#if defined(__x86_64__)
namespace avx2 {
GoBack go_back(const BackwardVariant& variant);
}
namespace avx512 {
GoBack go_back(const BackwardVariant& variant);
}
#endif

}  // namespace spikeconv::cpu
