// A call of the CUDA operator as its threads see it: plain numbers and pointers, passed by value.
// Knows neither torch nor CUDA.
#pragma once

#include <stdint.h>

#include "if_neuron.h"
#include "types.h"

namespace spikeconv::cuda {

constexpr int kMaxRank = 8;

// What a kernel is compiled for.
template <Dtype kDtype, Emit kEmit, bool kSigned, int kCount, bool kTimedBias>
struct Variant {
  static constexpr Dtype dtype = kDtype;
  static constexpr Emit emit = kEmit;
  static constexpr bool is_signed = kSigned;
  static constexpr int count = kCount;            // neighbouring neurons of a thread
  static constexpr bool timed_bias = kTimedBias;  // a bias of its own for every step
};

struct IfOperand {
  const void* data;  // null: not given
  int64_t strides[kMaxRank];
};

// schema.cpp says how operands and outputs lie in memory.
struct IfWork {
  int64_t neurons;
  int64_t T;
  int rank;
  int64_t sizes[kMaxRank];
  int64_t x_stride_t;
  int64_t bias_stride_t;  // 0: the same bias at every step
  IfOperand x;
  IfOperand theta;
  IfOperand v_init;
  IfOperand bias;
  IfOperand count_init;
  void* emitted;
  float* v;
  bool last;   // v after the last step is wanted
  bool trace;  // v after every step is wanted
  float v_reset;
  bool hard;
  bool tie_fires;
};

// Where a neuron's operands lie, in elements.
struct IfOffsets {
  int64_t x = 0;
  int64_t theta = 0;
  int64_t v_init = 0;
  int64_t bias = 0;
  int64_t count_init = 0;
};

SPIKECONV_INLINE void add_index(const IfWork& work, int d, int64_t index, IfOffsets& offsets) {
  offsets.x += index * work.x.strides[d];
  offsets.theta += index * work.theta.strides[d];
  offsets.v_init += index * work.v_init.strides[d];
  offsets.bias += index * work.bias.strides[d];
  offsets.count_init += index * work.count_init.strides[d];
}

SPIKECONV_INLINE IfOffsets offsets_of(const IfWork& work, int64_t neuron) {
  IfOffsets offsets;
  int64_t rest = neuron;
  for (int d = work.rank - 1; d > 0; --d) {
    // A division of 64 bits is many instructions on a GPU, and seldom needed.
    const int64_t size = work.sizes[d];
    const bool narrow = ((rest | size) >> 32) == 0;
    const int64_t outer =
        narrow ? static_cast<uint32_t>(rest) / static_cast<uint32_t>(size) : rest / size;
    add_index(work, d, rest - outer * size, offsets);
    rest = outer;
  }
  add_index(work, 0, rest, offsets);
  return offsets;
}

}  // namespace spikeconv::cuda
