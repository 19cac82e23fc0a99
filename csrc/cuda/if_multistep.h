// The launcher of the CUDA kernel, as the torch side calls it.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/work.h"
#include "types.h"

namespace spikeconv::cuda {

// Starts the kernel on the current device and returns without waiting for it.
cudaError_t launch_if_multistep(const IfWork& work, Dtype dtype, Emit emit, bool is_signed,
                                cudaStream_t stream);

}  // namespace spikeconv::cuda
