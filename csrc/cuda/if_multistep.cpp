// _if_multistep_cuda, the torch side: checks, device and stream.
#include "cuda/if_multistep.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>

#include "cuda/operand.h"
#include "if_multistep_call.h"

namespace spikeconv::cuda {
namespace {

constexpr char kName[] = "_if_multistep_cuda";

void if_multistep(const IfMultistepArguments& a) {
  const IfMultistepPlan plan = check_if_multistep(a);
  check_rank(a.op, a.sizes);
  if (plan.neurons == 0) {
    return;
  }
  IfWork work{};
  work.neurons = plan.neurons;
  work.T = a.T;
  work.rank = static_cast<int>(a.sizes.size());
  std::copy(a.sizes.begin(), a.sizes.end(), work.sizes);
  work.x_stride_t = a.x_stride_t;
  work.bias_stride_t = a.bias_stride_t;
  work.x = operand_of(a.x, a.x_strides);
  work.theta = operand_of(a.v_threshold, a.threshold_strides);
  work.v_init = operand_of(a.v_init, a.v_init_strides);
  work.bias = operand_of(a.bias, a.bias_strides);
  work.count_init = operand_of(a.count_init, a.count_strides);
  work.emitted = a.emitted.mutable_data_ptr();
  work.v = a.v.has_value() ? a.v->mutable_data_ptr<float>() : nullptr;
  work.last = plan.last;
  work.trace = plan.trace;
  work.v_reset = static_cast<float>(a.v_reset);
  work.hard = a.hard;
  work.tie_fires = a.tie_fires;
  const c10::cuda::CUDAGuard guard(a.x.device());
  C10_CUDA_CHECK(launch_if_multistep(work, plan.dtype, plan.emit, a.is_signed,
                                     c10::cuda::getCurrentCUDAStream().stream()));
}

}  // namespace

TORCH_LIBRARY_IMPL(spikeconv, CUDA, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, if_multistep>)));
}

TORCH_LIBRARY_IMPL(spikeconv, Meta, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, check_devices<IfMultistepArguments>>)));
}

}  // namespace spikeconv::cuda
