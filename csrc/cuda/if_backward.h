// The launcher of the CUDA backward kernel, as the torch side calls it.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/backward_work.h"
#include "types.h"

namespace spikeconv::cuda {

// Starts the kernel on the current device and returns without waiting for it.
cudaError_t launch_if_backward(const BackwardWork& work, Dtype dtype, Surrogate surrogate,
                               cudaStream_t stream);

}  // namespace spikeconv::cuda
