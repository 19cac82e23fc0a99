// Runs a chain: images that fill all threads on one each, the others by all threads together.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "cpu/int_arena.h"
#include "cpu/int_chain.h"

namespace spikeconv::cpu {

// Results and states of a step; undefined where they are not given or not wanted. Dense
// [B, H, W, K]; v is int32 of a layer and float32 of an encoder, the others int32.
struct IntTables {
  at::Tensor v_before, net_before;
  at::Tensor v, net, count;
};

// One run of a chain, checked.
struct IntChainCall {
  const IntParts& parts;
  const IntPlan& plan;
  int64_t images, steps, done;
  std::vector<IntPlane<uint8_t>> planes;  // by source; those that are given or wanted
  std::vector<at::Tensor> currents;       // by step that was asked for; those of encoders
  std::vector<IntTables> tables;          // likewise
};

void run_chain(const IntChainCall& call, IntArenas& arenas);

}  // namespace spikeconv::cpu
