// _if_backward_cpp: what is decided once a call, and the neurons cut into blocks for the threads.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>

#include "cpu/backward_worker.h"
#include "cpu/blocks.h"
#include "cpu/huge_pages.h"
#include "cpu/isa.h"
#include "if_backward_call.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_if_backward_cpp";

// Neurons in a block at most, and floats of an operand that is copied together: what a core's cache
// holds.
constexpr int64_t kBlock = 4096;
constexpr int64_t kCopied = 1 << 16;

// Steps of neurons that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 14;

int64_t whole_tiles(int64_t neurons) { return (neurons + kMaxTile - 1) / kMaxTile * kMaxTile; }

BackwardRun prepare(const IfBackwardArguments& a, const IfBackwardPlan& plan) {
  const int64_t share = (plan.neurons + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t most = std::min(kBlock, std::max<int64_t>(kCopied / a.T, 1));
  for (const auto* written : {&a.grad_x, &a.grad_m}) {
    if (written->has_value()) {
      advise_huge_pages((*written)->mutable_data_ptr(), (*written)->nbytes());
    }
  }
  return {plan, whole_tiles(std::min(most, share)), go_back({plan.dtype, plan.surrogate, a.hard})};
}

void if_backward(const IfBackwardArguments& a) {
  const IfBackwardPlan plan = check_if_backward(a);
  if (plan.neurons == 0) {
    return;
  }
  run_blocks<BackwardWorker>(a, prepare(a, plan), kGrain);
}

}  // namespace

TORCH_LIBRARY_IMPL(spikeconv, CPU, library) {
  library.impl(kName, TORCH_FN((backward_from_torch<kName, if_backward>)));
}

TORCH_LIBRARY_IMPL(spikeconv, Meta, library) {
  library.impl(kName, TORCH_FN((backward_from_torch<kName, check_devices<IfBackwardArguments>>)));
}

}  // namespace spikeconv::cpu
