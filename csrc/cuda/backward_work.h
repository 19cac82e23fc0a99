// A call of the CUDA backward operator as its threads see it. Knows neither torch nor CUDA.
#pragma once

#include "cuda/work.h"
#include "surrogate.h"

namespace spikeconv::cuda {

// Steps whose potentials a thread holds in registers at once. A run of more steps is cut into
// segments of so many, and goes back over them one by one.
constexpr int kSegment = 4;

SPIKECONV_INLINE int64_t segments_of(int64_t T) { return (T + kSegment - 1) / kSegment; }

// What a kernel is compiled for.
template <Dtype kDtype, Surrogate kSurrogate, bool kHard, int kCount>
struct BackwardVariant {
  static constexpr Dtype dtype = kDtype;
  static constexpr Surrogate surrogate = kSurrogate;
  static constexpr bool hard = kHard;
  static constexpr int count = kCount;  // neighbouring neurons of a thread
};

// Gradients are dense; those that are read are 0 and those that are written not wanted where null.
struct BackwardWork {
  IfWork run;  // that is gone back over; its outputs are not written again
  const void* grad_emitted;
  const float* grad_v;
  const float* slope;
  void* grad_x;
  float* grad_m;
  float* grad_sum;
  float* grad_theta;
  float* grad_v_init;
  float* starts;  // room for [segments - 1, neurons]: v before each segment but the first
  SurrogateNumbers numbers;
  bool psp;
  bool trace;  // grad_v has time
  bool detach_reset;
};

}  // namespace spikeconv::cuda
