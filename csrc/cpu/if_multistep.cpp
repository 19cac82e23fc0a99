// _if_multistep_cpp: what is decided once a call, and the neurons cut into blocks for the threads.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "cpu/huge_pages.h"
#include "cpu/isa.h"
#include "cpu/worker.h"
#include "if_multistep_call.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_if_multistep_cpp";

// Neurons in a block at most. Its operands fit into the first cache, with room for rows in passing.
constexpr int64_t kBlock = 1024;

// Steps of neurons that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 16;

// Outputs from this size on will not wait in a cache for their reader. The GNU allocator also maps
// memory of this size anew at every call.
constexpr int64_t kLargeBytes = int64_t{32} << 20;

constexpr int64_t kLineBytes = 64;

// Prepares `rows` rows from `data` on for being written from end to end; whether to write them
// around the caches.
bool prepare_rows(void* data, int64_t row_bytes, int64_t rows) {
  if (row_bytes < kLargeBytes / rows) {
    return false;
  }
  advise_huge_pages(data, row_bytes * rows);
  return reinterpret_cast<uintptr_t>(data) % kLineBytes == 0 && row_bytes % kLineBytes == 0;
}

Run prepare(const IfMultistepArguments& a, const IfMultistepPlan& plan) {
  Run run{};
  run.plan = plan;
  const int64_t share = (plan.neurons + at::get_num_threads() - 1) / at::get_num_threads();
  run.block = std::min(kBlock, (share + kLineBytes - 1) / kLineBytes * kLineBytes);
  run.advance = if_advance(plan.dtype, plan.emit, a.is_signed, plan.trace);
  run.emitted = static_cast<char*>(a.emitted.mutable_data_ptr());
  run.emitted_bytes = a.emitted.element_size();
  run.v = a.v.has_value() ? a.v->mutable_data_ptr<float>() : nullptr;
  if (!plan.summed) {
    run.streaming = prepare_rows(run.emitted, plan.neurons * run.emitted_bytes, a.T);
  }
  if (plan.trace) {
    const bool wide = prepare_rows(run.v, plan.neurons * int64_t{sizeof(float)}, a.T);
    run.streaming = wide && (plan.summed || run.streaming);
  }
  return run;
}

template <Dtype kDtype>
void run_blocks(const IfMultistepArguments& a, const Run& run) {
  const int64_t blocks = (run.plan.neurons + run.block - 1) / run.block;
  const int64_t grain = std::max<int64_t>(1, kGrain / run.block / a.T);
  at::parallel_for(0, blocks, grain, [&](int64_t begin, int64_t end) {
    Worker<kDtype> worker(a, run);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * run.block;
      worker.run(first, std::min(run.block, run.plan.neurons - first));
    }
  });
}

void if_multistep(const IfMultistepArguments& a) {
  const IfMultistepPlan plan = check_if_multistep(a);
  if (plan.neurons == 0) {
    return;
  }
  const Run run = prepare(a, plan);
  switch (plan.dtype) {
    case Dtype::kFloat32:
      return run_blocks<Dtype::kFloat32>(a, run);
    case Dtype::kFloat16:
      return run_blocks<Dtype::kFloat16>(a, run);
    case Dtype::kBFloat16:
      return run_blocks<Dtype::kBFloat16>(a, run);
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(spikeconv, CPU, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, if_multistep>)));
}

TORCH_LIBRARY_IMPL(spikeconv, Meta, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, check_devices>)));
}

}  // namespace spikeconv::cpu
