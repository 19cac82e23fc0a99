// _if_multistep_cpp: what is decided once a call, and the neurons cut into blocks for the threads.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "cpu/blocks.h"
#include "cpu/huge_pages.h"
#include "cpu/isa.h"
#include "cpu/worker.h"
#include "if_multistep_call.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_if_multistep_cpp";

// Neurons in a block at most: long rows for the memory, and operands that stay in a core's cache.
constexpr int64_t kBlock = 4096;

// Steps of neurons that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 16;

// Outputs from this size on are written around the caches: they would push out all else and be gone
// themselves before they are read. Smaller ones are better read from the cache.
constexpr int64_t kStreamingBytes = int64_t{16} << 20;

constexpr int64_t kLineBytes = 64;

// Whether `rows` rows from `data` on are many enough to be written around the caches, and lie so
// that they can be.
bool is_streaming(const void* data, int64_t row_bytes, int64_t rows) {
  return row_bytes >= kStreamingBytes / rows && row_bytes % kLineBytes == 0 &&
         reinterpret_cast<uintptr_t>(data) % kLineBytes == 0;
}

IfStep step_of(const IfMultistepArguments& a) {
  if (a.bias_stride_t != 0) {
    return IfStep::kTimed;
  }
  return a.hard || a.bias.has_value() ? IfStep::kFull : IfStep::kPlain;
}

Run prepare(const IfMultistepArguments& a, const IfMultistepPlan& plan) {
  Run run{};
  run.plan = plan;
  const int64_t share = (plan.neurons + at::get_num_threads() - 1) / at::get_num_threads();
  run.block = std::min(kBlock, (share + kLineBytes - 1) / kLineBytes * kLineBytes);
  run.advance = if_advance({plan.dtype, plan.emit, a.is_signed, plan.trace, step_of(a)});
  run.emitted = static_cast<char*>(a.emitted.mutable_data_ptr());
  run.emitted_bytes = a.emitted.element_size();
  run.stream_emitted =
      !plan.summed && is_streaming(run.emitted, plan.neurons * run.emitted_bytes, a.T);
  advise_huge_pages(run.emitted, a.emitted.nbytes());
  if (a.v.has_value()) {
    run.v = a.v->mutable_data_ptr<float>();
    run.stream_trace =
        plan.trace && is_streaming(run.v, plan.neurons * int64_t{sizeof(float)}, a.T);
    advise_huge_pages(run.v, a.v->nbytes());
  }
  return run;
}

void if_multistep(const IfMultistepArguments& a) {
  const IfMultistepPlan plan = check_if_multistep(a);
  if (plan.neurons == 0) {
    return;
  }
  run_blocks<Worker>(a, prepare(a, plan), kGrain);
}

}  // namespace

TORCH_LIBRARY_IMPL(spikeconv, CPU, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, if_multistep>)));
}

TORCH_LIBRARY_IMPL(spikeconv, Meta, library) {
  library.impl(kName, TORCH_FN((from_torch<kName, check_devices<IfMultistepArguments>>)));
}

}  // namespace spikeconv::cpu
