// Values of neighbouring neurons, out of the rows of a block and into them. Included by the kernels
// like lanes.h, which says more.
#pragma once

#include "cpu/if_multistep.h"
#include "cpu/lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Bytes ahead at which rows are requested. A block walks along several rows at once, and for so
// many streams, or over the end of a page, the processor does not look ahead by itself.
constexpr int kAhead = 2048;

constexpr int bytes_of(Dtype dtype) { return dtype == Dtype::kFloat32 ? 4 : 2; }

// Requests the cache lines that k = 0, ..., kTile - 1 will load later, each line once.
template <class L, Dtype kDtype>
SPIKECONV_INLINE void prefetch_x(const void* x, int64_t offset, int k) {
  if (k * L::kCount * bytes_of(kDtype) % 64 == 0) {
    __builtin_prefetch(static_cast<const char*>(x) + offset * bytes_of(kDtype) + kAhead);
  }
}

template <class L, Dtype kDtype>
SPIKECONV_INLINE typename L::Real load_x(const void* x, int64_t offset) {
  if constexpr (kDtype == Dtype::kFloat32) {
    return load<typename L::Real>(static_cast<const float*>(x) + offset);
  } else {
    const auto half = load<typename L::Half>(static_cast<const uint16_t*>(x) + offset);
    if constexpr (kDtype == Dtype::kFloat16) {
      return widen_float16<L>(half);
    } else {
      return real_of_bfloat16<typename L::Real>(widen<L>(half));
    }
  }
}

template <class Values, class Value>
SPIKECONV_INLINE Values load(IfInput<Value> input, int64_t at) {
  return load<Values>(input.data + at * input.step);
}

template <class Value>
SPIKECONV_INLINE void write(void* to, Value value, bool streaming) {
  if (streaming) {
    store_streaming(to, value);
  } else {
    store(to, value);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
