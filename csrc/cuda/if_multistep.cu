// The CUDA kernel and its launch. Does not include torch: it compiles in seconds and anywhere.
#include <algorithm>

#include "cuda/dispatch.h"
#include "cuda/if_multistep.h"
#include "cuda/thread.h"

namespace spikeconv::cuda {
namespace {

constexpr int kThreads = 256;

template <class Variant>
__global__ void __launch_bounds__(kThreads)
    if_multistep_kernel(const __grid_constant__ IfWork work) {
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  run_thread<Variant>(work, thread, int64_t{gridDim.x} * kThreads);
}

}  // namespace

cudaError_t launch_if_multistep(const IfWork& work, Dtype dtype, Emit emit, bool is_signed,
                                cudaStream_t stream) {
  return dispatch(work, dtype, emit, is_signed, [&](auto variant) {
    using Variant = decltype(variant);
    const int64_t groups = (work.neurons + Variant::count - 1) / Variant::count;
    const int64_t blocks = (groups + kThreads - 1) / kThreads;
    const auto grid = static_cast<unsigned>(std::min<int64_t>(blocks, 0x7fffffff));
    if_multistep_kernel<Variant><<<grid, kThreads, 0, stream>>>(work);
    return cudaGetLastError();
  });
}

}  // namespace spikeconv::cuda
