// Which variant of the kernel a call takes. Host code without torch and CUDA, so that tests/native
// choose as the operator does.
#pragma once

#include "cuda/work.h"
#include "types.h"

namespace spikeconv::cuda {

inline bool on_16_bytes(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// Whether a thread may take `count` neighbours at once, at most 16 bytes of x: they share all but
// the innermost index, and every row of x and of the outputs starts where a group of them may
// start.
inline bool fits(const IfWork& work, int64_t count) {
  const int inner = work.rank - 1;
  bool aligned =
      work.sizes[inner] % count == 0 && work.x.strides[inner] == 1 && work.x_stride_t % count == 0;
  for (int d = 0; d < inner; ++d) {
    aligned = aligned && (work.sizes[d] == 1 || work.x.strides[d] % count == 0);
  }
  return aligned && on_16_bytes(work.x.data) && on_16_bytes(work.emitted) && on_16_bytes(work.v);
}

// Each calls run(Variant<...>{}) with the variant for the call and returns what that returns.
template <Dtype kDtype, Emit kEmit, bool kSigned, int kCount, class Run>
auto dispatch_bias(const IfWork& work, Run run) {
  return work.bias_stride_t == 0 ? run(Variant<kDtype, kEmit, kSigned, kCount, false>{})
                                 : run(Variant<kDtype, kEmit, kSigned, kCount, true>{});
}

template <Dtype kDtype, Emit kEmit, bool kSigned, class Run>
auto dispatch_count(const IfWork& work, Run run) {
  constexpr int kCount = kDtype == Dtype::kFloat32 ? 4 : 8;
  return fits(work, kCount) ? dispatch_bias<kDtype, kEmit, kSigned, kCount>(work, run)
                            : dispatch_bias<kDtype, kEmit, kSigned, 1>(work, run);
}

template <Dtype kDtype, Emit kEmit, class Run>
auto dispatch_signed(const IfWork& work, bool is_signed, Run run) {
  if constexpr (kEmit != Emit::kWords) {
    if (is_signed) {
      return dispatch_count<kDtype, kEmit, true>(work, run);
    }
  }
  return dispatch_count<kDtype, kEmit, false>(work, run);
}

template <Dtype kDtype, class Run>
auto dispatch_emit(const IfWork& work, Emit emit, bool is_signed, Run run) {
  switch (emit) {
    case Emit::kPsp:
      return dispatch_signed<kDtype, Emit::kPsp>(work, is_signed, run);
    case Emit::kUint8:
      return dispatch_signed<kDtype, Emit::kUint8>(work, is_signed, run);
    case Emit::kWords:
      return dispatch_signed<kDtype, Emit::kWords>(work, is_signed, run);
    case Emit::kCount:
      return dispatch_signed<kDtype, Emit::kCount>(work, is_signed, run);
    default:
      return dispatch_signed<kDtype, Emit::kSpikes>(work, is_signed, run);
  }
}

template <class Run>
auto dispatch(const IfWork& work, Dtype dtype, Emit emit, bool is_signed, Run run) {
  switch (dtype) {
    case Dtype::kFloat16:
      return dispatch_emit<Dtype::kFloat16>(work, emit, is_signed, run);
    case Dtype::kBFloat16:
      return dispatch_emit<Dtype::kBFloat16>(work, emit, is_signed, run);
    default:
      return dispatch_emit<Dtype::kFloat32>(work, emit, is_signed, run);
  }
}

}  // namespace spikeconv::cuda
