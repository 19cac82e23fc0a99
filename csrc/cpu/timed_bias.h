// A bias of its own for every step, as the kernel wants it for some steps of a block of neurons.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/operand.h"

namespace spikeconv::cpu {

// Dense steps are read in place. Of others a block is laid side by side, or, where long runs of
// neighbours share a value (a channel's), a few copies of it for each kGroup of them.
class TimedBias {
 public:
  // Blocks have at most `block` neurons and start at multiples of it, a multiple of kGroup; `steps`
  // is the most that is asked for at once.
  TimedBias(const at::Tensor& bias, int64_t stride_t, c10::IntArrayRef sizes,
            c10::IntArrayRef strides, int64_t block, int64_t steps)
      : data_(bias.const_data_ptr<float>()),
        stride_t_(stride_t),
        sizes_(sizes.vec()),
        strides_(strides),
        uniform_(is_uniform(sizes, strides_)),
        dense_(!uniform_ && is_dense(sizes, strides_)),
        grouped_(!uniform_ && strides_.back() == 0 && sizes_.back() % kGroup == 0),
        row_(dense_     ? stride_t_
             : uniform_ ? kMaxLanes
                        : elements(block)),
        rows_(dense_ ? 0 : row_ * steps) {
    sizes_.back() = elements(sizes_.back());
  }

  // Points the block, whose neurons are first, first + 1, ..., at its biases from step t on. They
  // are valid until the next call.
  template <class Block>
  void set(Block& block, int64_t first, int64_t t) {
    const float* from = data_ + t * stride_t_;
    block.bias = {dense_ ? from + first : rows_.data(), uniform_ ? 0 : 1};
    block.bias_stride = row_;
    block.bias_grouped = grouped_;
    for (int64_t s = 0; s < block.steps && !dense_; ++s, from += stride_t_) {
      float* to = rows_.data() + s * row_;
      if (uniform_) {
        std::fill_n(to, kMaxLanes, *from);
      } else {
        gather(from, sizes_, strides_, elements(first), elements(block.neurons), to);
      }
    }
  }

 private:
  // How many elements stand for so many neurons of a row that is laid out here.
  int64_t elements(int64_t neurons) const {
    return grouped_ ? neurons / kGroup * kMaxLanes : neurons;
  }

  const float* data_;
  int64_t stride_t_;
  std::vector<int64_t> sizes_;
  c10::IntArrayRef strides_;
  bool uniform_;  // all neurons have the same
  bool dense_;
  bool grouped_;
  int64_t row_;  // elements from step to step
  Scratch<float> rows_;
};

}  // namespace spikeconv::cpu
