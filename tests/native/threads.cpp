// Runs the threads of the CUDA kernels one after another on the host, for tests/native/on_host.py.
#include "cuda/backward_dispatch.h"
#include "cuda/backward_thread.h"
#include "cuda/dispatch.h"
#include "cuda/thread.h"

using spikeconv::Dtype;
using spikeconv::Emit;
using spikeconv::Surrogate;
using spikeconv::cuda::BackwardWork;
using spikeconv::cuda::IfWork;

// Each returns how many neighbouring neurons a thread took at once.

extern "C" int run_threads(const IfWork* work, int dtype, int emit, int is_signed,
                           int64_t threads) {
  return spikeconv::cuda::dispatch(*work, static_cast<Dtype>(dtype), static_cast<Emit>(emit),
                                   is_signed != 0, [&](auto variant) {
                                     using Variant = decltype(variant);
                                     for (int64_t thread = 0; thread < threads; ++thread) {
                                       spikeconv::cuda::run_thread<Variant>(*work, thread, threads);
                                     }
                                     return Variant::count;
                                   });
}

extern "C" int run_threads_back(const BackwardWork* work, int dtype, int surrogate,
                                int64_t threads) {
  return spikeconv::cuda::dispatch(
      *work, static_cast<Dtype>(dtype), static_cast<Surrogate>(surrogate), [&](auto variant) {
        using Variant = decltype(variant);
        for (int64_t thread = 0; thread < threads; ++thread) {
          spikeconv::cuda::run_thread_back<Variant>(*work, thread, threads);
        }
        return Variant::count;
      });
}

extern "C" int64_t starts_of(int64_t T, int64_t neurons) {
  return (spikeconv::cuda::segments_of(T) - 1) * neurons;
}

extern "C" int64_t size_of_work() { return sizeof(IfWork); }

extern "C" int64_t size_of_backward_work() { return sizeof(BackwardWork); }
