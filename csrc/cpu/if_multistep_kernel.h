// The CPU kernel: a tile of neighbouring neurons stays in registers while time runs over it.
//
// Included by one small .cpp file per instruction set, which sets SPIKECONV_ISA (a namespace),
// SPIKECONV_LANES (floats in a vector) and the compiler's target. The linker keeps one copy of an
// inline function that several files define, whichever file it comes from, and a copy compiled for
// AVX-512 would then also run on processors without it. So nothing from torch or the standard
// library is included here, and everything lies in a namespace of its own or has internal linkage.
#pragma once

#include "amplitude.h"
#include "cpu/if_multistep.h"
#include "cpu/rows.h"
#include "limit.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Vectors in a tile. Each row of a tile should fill whole cache lines, and several chains of
// dependent steps hide each other's latency.
constexpr int kVectors = 4;

// Writes a row's spikes: `amplitude` where plus, its negative where minus, else zero.
template <class L, Dtype kDtype, Emit kEmit>
SPIKECONV_INLINE void write_spikes(void* emitted, int64_t offset, typename L::Word amplitude,
                                   IfSpike<typename L::Mask> s, bool streaming) {
  using Word = typename L::Word;
  const Word zero{};
  const Word word = s.plus ? amplitude : (s.minus ? negative_of<kDtype, kEmit>(amplitude) : zero);
  if constexpr (kEmit == Emit::kUint8) {
    write(static_cast<uint8_t*>(emitted) + offset, narrow_to_byte<L>(word), streaming);
  } else if constexpr (kDtype == Dtype::kFloat32) {
    write(static_cast<uint32_t*>(emitted) + offset, word, streaming);
  } else {
    write(static_cast<uint16_t*>(emitted) + offset, narrow_to_half<L>(word), streaming);
  }
}

// Runs kTile vectors of neurons, from neuron i of the block on, through all steps of the block.
template <class L, int kTile, Dtype kDtype, Emit kEmit, bool kSigned, bool kTrace, IfStep kStep>
SPIKECONV_INLINE void advance_tile(const IfBlock& block, int64_t i) {
  using Real = typename L::Real;
  using Mask = typename L::Mask;
  using Int = typename L::Int;
  using Word = typename L::Word;
  constexpr bool kPlain = kStep == IfStep::kPlain;
  constexpr bool kSummed = kEmit == Emit::kWords || kEmit == Emit::kCount;
  const Int zero = Int{};
  IfParameters<Real, Mask> parameters[kTile];
  IfState<Real, Int> state[kTile];
  Word amplitude[kTile];
  Int summed[kTile];
  int64_t bias_at[kTile] = {};
  for (int k = 0; k < kTile; ++k) {
    const int64_t at = i + k * L::kCount;
    parameters[k].theta = load<Real>(block.theta, at);
    parameters[k].limit = limit_of<Word>(parameters[k].theta, block.tie_fires);
    parameters[k].bias = kPlain ? kNoBias - Real{} : load<Real>(block.bias, at);
    if constexpr (kStep == IfStep::kTimed) {
      bias_at[k] = block.bias_grouped ? at / kGroup * kMaxLanes : at * block.bias.step;
    }
    parameters[k].v_reset = block.v_reset - Real{};  // the same in every lane
    parameters[k].hard = !kPlain && block.hard ? Mask(zero == zero) : Mask(zero != zero);
    state[k].v = load<Real>(block.v_before, at);
    state[k].net = kSigned ? load<Int>(block.net_before, at) : zero;
    amplitude[k] = kSummed ? Word{} : load<Word>(block.amplitude, at);
    const int32_t* sums = static_cast<int32_t*>(block.emitted) + at;
    summed[k] = kSummed && !block.first ? load<Int>(sums) : zero;
  }
  uint32_t bit = block.first_bit;
  for (int64_t t = 0; t < block.steps; ++t) {
    SPIKECONV_UNROLL
    for (int k = 0; k < kTile; ++k) {
      const int64_t at = i + k * L::kCount;
      const int64_t x_at = t * block.x_stride + at;
      prefetch_x<L, kDtype>(block.x, x_at, k);
      const Real x = load_x<L, kDtype>(block.x, x_at);
      if constexpr (kStep == IfStep::kTimed) {
        parameters[k].bias = load<Real>(block.bias.data + t * block.bias_stride + bias_at[k]);
      }
      const IfSpike<Mask> s = if_step<kSigned>(parameters[k], x, state[k]);
      if constexpr (kEmit == Emit::kWords) {
        summed[k] = s.plus ? summed[k] | static_cast<int32_t>(bit) : summed[k];
      } else if constexpr (kEmit == Emit::kCount) {
        summed[k] = s.plus ? summed[k] + 1 : (s.minus ? summed[k] - 1 : summed[k]);
      } else {
        write_spikes<L, kDtype, kEmit>(block.emitted, t * block.emitted_stride + at, amplitude[k],
                                       s, block.stream_emitted);
      }
      if constexpr (kTrace) {
        write(block.trace + t * block.trace_stride + at, state[k].v, block.stream_trace);
      }
    }
    bit <<= 1;
  }
  for (int k = 0; k < kTile; ++k) {
    const int64_t at = i + k * L::kCount;
    store(block.v + at, state[k].v);
    if constexpr (kSigned) {
      store(block.net + at, state[k].net);
    }
    if constexpr (kSummed) {
      store(static_cast<int32_t*>(block.emitted) + at, summed[k]);
    }
  }
}

template <Dtype kDtype, Emit kEmit, bool kSigned, bool kTrace, IfStep kStep>
void advance(const IfBlock& given) {
  const IfBlock block = given;  // a copy that no store can alias stays in registers
  int64_t i = 0;
  for (; i + kVectors * Many::kCount <= block.neurons; i += kVectors * Many::kCount) {
    advance_tile<Many, kVectors, kDtype, kEmit, kSigned, kTrace, kStep>(block, i);
  }
  for (; i < block.neurons; ++i) {
    advance_tile<One, 1, kDtype, kEmit, kSigned, kTrace, kStep>(block, i);
  }
#if defined(__x86_64__)
  if (block.stream_emitted || block.stream_trace) {
    _mm_sfence();  // streaming stores are not ordered before what tells other threads of them
  }
#endif
}

template <Dtype kDtype, Emit kEmit, bool kSigned, bool kTrace>
IfAdvance choose(IfStep step) {
  switch (step) {
    case IfStep::kPlain:
      return advance<kDtype, kEmit, kSigned, kTrace, IfStep::kPlain>;
    case IfStep::kTimed:
      return advance<kDtype, kEmit, kSigned, kTrace, IfStep::kTimed>;
    default:
      return advance<kDtype, kEmit, kSigned, kTrace, IfStep::kFull>;
  }
}

template <Dtype kDtype, Emit kEmit, bool kSigned>
IfAdvance choose(bool trace, IfStep step) {
  return trace ? choose<kDtype, kEmit, kSigned, true>(step)
               : choose<kDtype, kEmit, kSigned, false>(step);
}

template <Dtype kDtype, Emit kEmit>
IfAdvance choose(const IfVariant& variant) {
  if constexpr (kEmit != Emit::kWords) {
    if (variant.is_signed) {
      return choose<kDtype, kEmit, true>(variant.trace, variant.step);
    }
  }
  return choose<kDtype, kEmit, false>(variant.trace, variant.step);
}

template <Dtype kDtype>
IfAdvance choose(const IfVariant& variant) {
  switch (variant.emit) {
    case Emit::kUint8:
      return choose<kDtype, Emit::kUint8>(variant);
    case Emit::kWords:
      return choose<kDtype, Emit::kWords>(variant);
    case Emit::kCount:
      return choose<kDtype, Emit::kCount>(variant);
    default:
      return choose<kDtype, Emit::kSpikes>(variant);
  }
}

IfAdvance if_advance(const IfVariant& variant) {
  switch (variant.dtype) {
    case Dtype::kFloat16:
      return choose<Dtype::kFloat16>(variant);
    case Dtype::kBFloat16:
      return choose<Dtype::kBFloat16>(variant);
    default:
      return choose<Dtype::kFloat32>(variant);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
