// Which variant of the backward kernel a call takes, as dispatch.h has it for the forward one.
#pragma once

#include "cuda/backward_work.h"
#include "cuda/dispatch.h"

namespace spikeconv::cuda {

// Whether a thread may take `count` neighbours at once.
inline bool fits(const BackwardWork& work, int64_t count) {
  bool aligned = fits(work.run, count);
  const void* dense[] = {work.grad_emitted, work.grad_v,      work.slope,
                         work.grad_x,       work.grad_m,      work.grad_sum,
                         work.grad_theta,   work.grad_v_init, work.starts};
  for (const void* data : dense) {
    aligned = aligned && on_16_bytes(data);
  }
  return aligned;
}

// Each calls run(BackwardVariant<...>{}) with the variant for the call and returns what that
// returns.
template <Dtype kDtype, Surrogate kSurrogate, bool kHard, class Run>
auto dispatch_count(const BackwardWork& work, Run run) {
  // Twice as many of 16 bits would need 200 registers and more.
  return fits(work, 4) ? run(BackwardVariant<kDtype, kSurrogate, kHard, 4>{})
                       : run(BackwardVariant<kDtype, kSurrogate, kHard, 1>{});
}

template <Dtype kDtype, Surrogate kSurrogate, class Run>
auto dispatch_hard(const BackwardWork& work, Run run) {
  return work.run.hard ? dispatch_count<kDtype, kSurrogate, true>(work, run)
                       : dispatch_count<kDtype, kSurrogate, false>(work, run);
}

template <Dtype kDtype, class Run>
auto dispatch_surrogate(const BackwardWork& work, Surrogate surrogate, Run run) {
  switch (surrogate) {
    case Surrogate::kSigmoid:
      return dispatch_hard<kDtype, Surrogate::kSigmoid>(work, run);
    case Surrogate::kATan:
      return dispatch_hard<kDtype, Surrogate::kATan>(work, run);
    case Surrogate::kPiecewiseLinear:
      return dispatch_hard<kDtype, Surrogate::kPiecewiseLinear>(work, run);
    default:
      return dispatch_hard<kDtype, Surrogate::kGiven>(work, run);
  }
}

template <class Run>
auto dispatch(const BackwardWork& work, Dtype dtype, Surrogate surrogate, Run run) {
  switch (dtype) {
    case Dtype::kFloat16:
      return dispatch_surrogate<Dtype::kFloat16>(work, surrogate, run);
    case Dtype::kBFloat16:
      return dispatch_surrogate<Dtype::kBFloat16>(work, surrogate, run);
    default:
      return dispatch_surrogate<Dtype::kFloat32>(work, surrogate, run);
  }
}

}  // namespace spikeconv::cuda
