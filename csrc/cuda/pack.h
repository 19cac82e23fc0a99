// How a thread reads and writes neighbouring neurons' values.
#pragma once

#include "cuda/work.h"
#include "half.h"
#include "types.h"

namespace spikeconv::cuda {

template <Dtype kDtype>
struct Current {
  using Stored = uint16_t;
};
template <>
struct Current<Dtype::kFloat32> {
  using Stored = uint32_t;
};

// Neighbouring elements, moved 16 bytes an instruction.
template <class Stored, int kCount>
struct alignas(sizeof(Stored) * kCount < 16 ? sizeof(Stored) * kCount : 16) Pack {
  Stored at[kCount];
};

template <class Stored, int kCount>
SPIKECONV_INLINE Pack<Stored, kCount> load_pack(const void* data, int64_t offset) {
  return *reinterpret_cast<const Pack<Stored, kCount>*>(static_cast<const Stored*>(data) + offset);
}

template <class Stored, int kCount>
SPIKECONV_INLINE void store_pack(void* data, int64_t offset, const Pack<Stored, kCount>& pack) {
  Stored* to = static_cast<Stored*>(data) + offset;
#if defined(__CUDA_ARCH__)
  // nvcc would take the assignment below apart into stores of 4 bytes.
  if constexpr (sizeof(pack) % 16 == 0) {
    const auto words = same_bits<Pack<uint32_t, sizeof(pack) / 4>>(pack);
    SPIKECONV_UNROLL
    for (int i = 0; i < static_cast<int>(sizeof(pack) / 4); i += 4) {
      asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(
                       __cvta_generic_to_global(reinterpret_cast<uint32_t*>(to) + i)),
                   "r"(words.at[i]), "r"(words.at[i + 1]), "r"(words.at[i + 2]),
                   "r"(words.at[i + 3]));
    }
    return;
  }
#endif
  *reinterpret_cast<Pack<Stored, kCount>*>(to) = pack;
}

template <class Value>
SPIKECONV_INLINE Value value_of(const IfOperand& operand, int64_t offset, Value absent) {
  return operand.data == nullptr ? absent : static_cast<const Value*>(operand.data)[offset];
}

template <Dtype kDtype>
SPIKECONV_INLINE float real_of(typename Current<kDtype>::Stored stored) {
  if constexpr (kDtype == Dtype::kFloat32) {
    return same_bits<float>(stored);
  } else if constexpr (kDtype == Dtype::kFloat16) {
    return real_of_float16<float>(uint32_t{stored});
  } else {
    return real_of_bfloat16<float>(uint32_t{stored});
  }
}

}  // namespace spikeconv::cuda
