// Runs the threads of the CUDA kernel one after another on the host, for tests/native/on_host.py.
#include "cuda/dispatch.h"
#include "cuda/thread.h"

using spikeconv::Dtype;
using spikeconv::Emit;
using spikeconv::cuda::IfWork;

// Returns how many neighbouring neurons a thread took at once.
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

extern "C" int64_t size_of_work() { return sizeof(IfWork); }
