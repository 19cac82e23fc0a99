// Blocks of consecutive neurons out of an operand with any strides. Only a block is ever copied,
// and not even that where the operand lies dense in memory or is one number for all neurons.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "cpu/if_multistep.h"

namespace spikeconv::cpu {

// Whether `strides` walk all of `sizes` in memory order without holes.
inline bool is_dense(c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  int64_t expected = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    if (sizes[d] != 1 && strides[d] != expected) {
      return false;
    }
    expected *= sizes[d];
  }
  return true;
}

inline bool is_uniform(c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] != 1 && strides[d] != 0) {
      return false;
    }
  }
  return true;
}

// Copies elements first, first + 1, ..., first + count - 1 of the row-major walk over `sizes`.
template <class Element>
void gather(const Element* from, c10::IntArrayRef sizes, c10::IntArrayRef strides, int64_t first,
            int64_t count, Element* to) {
  const int inner = static_cast<int>(sizes.size()) - 1;
  const int64_t stride = strides[inner];
  std::vector<int64_t> index(sizes.size());
  int64_t rest = first;
  for (int d = inner; d >= 0; --d) {
    index[d] = rest % sizes[d];
    rest /= sizes[d];
    from += index[d] * strides[d];
  }
  while (true) {
    const int64_t run = std::min(count, sizes[inner] - index[inner]);
    if (stride == 1) {
      std::memcpy(to, from, run * sizeof(Element));
    } else if (stride == 0) {
      std::fill_n(to, run, *from);
    } else {
      for (int64_t i = 0; i < run; ++i) {
        to[i] = from[i * stride];
      }
    }
    to += run;
    count -= run;
    if (count == 0) {
      return;
    }
    from -= index[inner] * stride;  // back to the start of the innermost dimension, then carry
    index[inner] = 0;
    for (int d = inner - 1; d >= 0; --d) {
      from += strides[d];
      if (++index[d] < sizes[d]) {
        break;
      }
      from -= sizes[d] * strides[d];
      index[d] = 0;
    }
  }
}

// Uninitialised memory, aligned to a cache line.
template <class Element>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<Element*>(c10::alloc_cpu(size * sizeof(Element)))) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { c10::free_cpu(data_); }
  Element* data() { return data_; }

 private:
  Element* data_;
};

// An operand as the kernel wants it, for any block of neurons.
template <class Element>
class Operand {
 public:
  // Where the tensor is not given every neuron has `absent`.
  Operand(const std::optional<at::Tensor>& tensor, c10::IntArrayRef sizes, c10::IntArrayRef strides,
          Element absent, int64_t block)
      : data_(tensor.has_value() ? tensor->const_data_ptr<Element>() : nullptr),
        sizes_(sizes),
        strides_(strides),
        uniform_(data_ == nullptr || is_uniform(sizes, strides)),
        dense_(!uniform_ && is_dense(sizes, strides)),
        buffer_(dense_     ? 0
                : uniform_ ? kMaxLanes
                           : block) {
    if (uniform_) {
      std::fill_n(buffer_.data(), kMaxLanes, data_ == nullptr ? absent : *data_);
    }
  }

  // Neurons first, ..., first + count - 1; valid until the next call.
  IfInput<Element> block(int64_t first, int64_t count) {
    if (dense_) {
      return {data_ + first, 1};
    }
    if (!uniform_) {
      gather(data_, sizes_, strides_, first, count, buffer_.data());
    }
    return {buffer_.data(), uniform_ ? 0 : 1};
  }

 private:
  const Element* data_;
  c10::IntArrayRef sizes_;
  c10::IntArrayRef strides_;
  bool uniform_;
  bool dense_;
  Scratch<Element> buffer_;
};

}  // namespace spikeconv::cpu
