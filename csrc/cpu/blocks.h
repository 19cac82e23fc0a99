// The neurons of a call cut into blocks, and the blocks among threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

#include "types.h"

namespace spikeconv::cpu {

// Worker(arguments, run) is one thread's, and its run(first, count) does a block; `run` holds the
// call's plan and how many neurons a block has. `grain` steps of neurons are worth a thread.
template <class Worker, class Arguments, class Run>
void run_blocks_with(const Arguments& a, const Run& run, int64_t grain) {
  const int64_t blocks = (run.plan.neurons + run.block - 1) / run.block;
  const int64_t together = std::max<int64_t>(1, grain / run.block / a.T);
  at::parallel_for(0, blocks, together, [&](int64_t begin, int64_t end) {
    Worker worker(a, run);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * run.block;
      worker.run(first, std::min(run.block, run.plan.neurons - first));
    }
  });
}

template <template <Dtype> class Worker, class Arguments, class Run>
void run_blocks(const Arguments& a, const Run& run, int64_t grain) {
  switch (run.plan.dtype) {
    case Dtype::kFloat32:
      return run_blocks_with<Worker<Dtype::kFloat32>>(a, run, grain);
    case Dtype::kFloat16:
      return run_blocks_with<Worker<Dtype::kFloat16>>(a, run, grain);
    case Dtype::kBFloat16:
      return run_blocks_with<Worker<Dtype::kBFloat16>>(a, run, grain);
  }
}

}  // namespace spikeconv::cpu
