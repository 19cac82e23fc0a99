// Populations in floating point whose current is the same at every step: spikes for integer layers
// without a train in between.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "cpu/int_plane.h"
#include "cpu/int_tile.h"
#include "cpu/int_words.h"

namespace spikeconv::cpu {

struct IntEncoder {
  int64_t out;  // the source that it is
  bool is_signed;
  // float32, with as many channels as whole blocks have.
  at::Tensor theta;   // [1 or H * W][channels]
  at::Tensor v_init;  // likewise
  at::Tensor bias;    // [steps][1 or H * W][channels]: step t takes row min(t, steps - 1)
};

IntEncoder make_int_encoder(const std::vector<IntSource>& sources, int64_t out,
                            const at::Tensor& theta, const at::Tensor& v_init,
                            const std::optional<at::Tensor>& bias);

// One run. Tables of neurons are dense [B, H, W, C].
struct IntEncoderRun {
  const IntKernels* kernels;
  const IntEncoder* encoder;
  const IntSource* source;
  const float* x;  // [B, C, H, W] with these strides
  int64_t stride_b, stride_c, stride_y, stride_x;
  int64_t steps;
  int64_t done;  // steps before
  IntPlane<uint8_t> out;
  bool emits;
  const float* v_before;  // null: v_init
  const int32_t* net_before;
  float* v;  // null: not wanted
  int32_t* net;
  int32_t* count;
};

// One row of an image.
void run_encoder_row(const IntEncoderRun& run, int64_t image, int64_t y);

// The same into words. Whether an encoder can, and a row of it; its run has no states or counts.
bool can_encode_words(const IntEncoder& encoder);
void encode_row_in_words(const IntEncoderRun& run, const IntWordPlane& to, int64_t image,
                         int64_t y);

}  // namespace spikeconv::cpu
