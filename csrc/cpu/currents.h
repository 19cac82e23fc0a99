// Rows of x, one for each step, as the kernel wants them for some steps of a block of neurons.
#pragma once

#include "cpu/operand.h"

namespace spikeconv::cpu {

// Dense rows are read in place. Of others a block is laid side by side, of a static current once.
template <class Stored>
class Currents {
 public:
  // Blocks have at most `block` neurons; `steps` is the most that is asked for at once.
  Currents(const at::Tensor& x, int64_t stride_t, c10::IntArrayRef sizes, c10::IntArrayRef strides,
           int64_t block, int64_t steps)
      : data_(static_cast<const Stored*>(x.const_data_ptr())),
        stride_t_(stride_t),
        sizes_(sizes),
        strides_(strides),
        dense_(is_dense(sizes, strides)),
        rows_(dense_ ? 0 : block * (is_static() ? 1 : steps)) {}

  // Points the block, whose neurons are first, first + 1, ..., at its rows from step t on. They are
  // valid until the next call. A block's first call is for step 0.
  template <class Block>
  void set(Block& block, int64_t first, int64_t t) {
    if (dense_) {
      block.x = data_ + t * stride_t_ + first;
      block.x_stride = stride_t_;
      return;
    }
    block.x = rows_.data();
    block.x_stride = is_static() ? 0 : block.neurons;
    if (is_static() && t > 0) {
      return;
    }
    for (int64_t row = 0; row < (is_static() ? 1 : block.steps); ++row) {
      gather(data_ + (t + row) * stride_t_, sizes_, strides_, first, block.neurons,
             rows_.data() + row * block.neurons);
    }
  }

 private:
  bool is_static() const { return stride_t_ == 0; }

  const Stored* data_;
  int64_t stride_t_;
  c10::IntArrayRef sizes_;
  c10::IntArrayRef strides_;
  bool dense_;
  Scratch<Stored> rows_;
};

}  // namespace spikeconv::cpu
