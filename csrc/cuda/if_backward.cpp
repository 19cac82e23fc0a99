// _if_backward_cuda, the torch side: checks, scratch memory, device and stream.
#include "cuda/if_backward.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "cuda/operand.h"
#include "if_backward_call.h"

namespace spikeconv::cuda {
namespace {

constexpr char kName[] = "_if_backward_cuda";

template <class Value>
Value* read(const std::optional<at::Tensor>& tensor) {
  return tensor.has_value() ? static_cast<Value*>(tensor->const_data_ptr()) : nullptr;
}

template <class Value>
Value* written(const std::optional<at::Tensor>& tensor) {
  return tensor.has_value() ? static_cast<Value*>(tensor->mutable_data_ptr()) : nullptr;
}

void if_backward(const IfBackwardArguments& a) {
  const IfBackwardPlan plan = check_if_backward(a);
  check_rank(a.op, a.sizes);
  if (plan.neurons == 0) {
    return;
  }
  BackwardWork work{};
  work.run.neurons = plan.neurons;
  work.run.T = a.T;
  work.run.rank = static_cast<int>(a.sizes.size());
  std::copy(a.sizes.begin(), a.sizes.end(), work.run.sizes);
  work.run.x_stride_t = a.x_stride_t;
  work.run.bias_stride_t = a.bias_stride_t;
  work.run.x = operand_of(a.x, a.x_strides);
  work.run.theta = operand_of(a.v_threshold, a.threshold_strides);
  work.run.v_init = operand_of(a.v_init, a.v_init_strides);
  work.run.bias = operand_of(a.bias, a.bias_strides);
  work.run.v_reset = static_cast<float>(a.v_reset);
  work.run.hard = a.hard;
  work.run.tie_fires = a.tie_fires;
  work.grad_emitted = read<const void>(a.grad_emitted);
  work.grad_v = read<const float>(a.grad_v);
  work.slope = read<const float>(a.slope);
  work.grad_x = written<void>(a.grad_x);
  work.grad_m = written<float>(a.grad_m);
  work.grad_sum = written<float>(a.grad_sum);
  work.grad_theta = written<float>(a.grad_threshold);
  work.grad_v_init = written<float>(a.grad_v_init);
  work.numbers = plan.numbers;
  work.psp = a.psp;
  work.trace = a.trace;
  work.detach_reset = a.detach_reset;
  const c10::cuda::CUDAGuard guard(a.x.device());
  const at::Tensor starts =
      at::empty({segments_of(a.T) - 1, plan.neurons}, a.x.options().dtype(at::kFloat));
  work.starts = starts.mutable_data_ptr<float>();
  C10_CUDA_CHECK(launch_if_backward(work, plan.dtype, plan.surrogate,
                                    c10::cuda::getCurrentCUDAStream().stream()));
}

}  // namespace

TORCH_LIBRARY_IMPL(spikeconv, CUDA, library) {
  library.impl(kName, TORCH_FN((backward_from_torch<kName, if_backward>)));
}

TORCH_LIBRARY_IMPL(spikeconv, Meta, library) {
  library.impl(kName, TORCH_FN((backward_from_torch<kName, check_devices<IfBackwardArguments>>)));
}

}  // namespace spikeconv::cuda
