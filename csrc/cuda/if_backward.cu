// The CUDA backward kernel and its launch. Does not include torch: it compiles in seconds and
// anywhere.
#include <algorithm>

#include "cuda/backward_dispatch.h"
#include "cuda/backward_thread.h"
#include "cuda/if_backward.h"

namespace spikeconv::cuda {
namespace {

constexpr int kThreads = 128;

template <class Variant>
__global__ void __launch_bounds__(kThreads)
    if_backward_kernel(const __grid_constant__ BackwardWork work) {
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  run_thread_back<Variant>(work, thread, int64_t{gridDim.x} * kThreads);
}

}  // namespace

cudaError_t launch_if_backward(const BackwardWork& work, Dtype dtype, Surrogate surrogate,
                               cudaStream_t stream) {
  return dispatch(work, dtype, surrogate, [&](auto variant) {
    using Variant = decltype(variant);
    const int64_t groups = (work.run.neurons + Variant::count - 1) / Variant::count;
    const int64_t blocks = (groups + kThreads - 1) / kThreads;
    const auto grid = static_cast<unsigned>(std::min<int64_t>(blocks, 0x7fffffff));
    if_backward_kernel<Variant><<<grid, kThreads, 0, stream>>>(work);
    return cudaGetLastError();
  });
}

}  // namespace spikeconv::cuda
