// An integer layer as the kernels read it: weights in their order, and what is the same for every
// call folded into the bias.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "cpu/int_plane.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// The arguments of one convolution; IntegerProgram's Convolution.
struct IntWindow {
  int64_t source;
  int64_t kernel_y, kernel_x;
  int64_t stride_y, stride_x;
  int64_t above, left;  // padding
  int64_t dilation_y, dilation_x;
  int64_t groups;

  int64_t extent_y() const { return (kernel_y - 1) * dilation_y + 1; }
  int64_t extent_x() const { return (kernel_x - 1) * dilation_x + 1; }
};

// A convolution with its weights packed, uint8 bytes by int8 weights.
struct IntConvolution {
  IntWindow window;
  int64_t channels;    // of the source that a block reads
  bool channelwise;    // each channel reads itself
  bool rows_are_runs;  // a row of taps is one run of bytes; else each tap is one
  int64_t n_runs;
  int64_t quads;  // of a run
  // Of each byte of the weights, from the lowest on, int8 [blocks][n_runs][quads][16][4]; or
  // channelwise, of whole weights, int32 [blocks][n_runs][16].
  std::vector<at::Tensor> bytes;
  bool wide;  // channelwise, with weights of more than 16 bits
  // Where sums may be made from events, of each byte int8
  // [blocks / 4][places, then one of zeros][4][16]; else none.
  std::vector<at::Tensor> rows;
  std::vector<int64_t> first_channel;  // of each block's runs
  int64_t narrow;                      // so many quads' products add up in 16 bits
  bool same_channels;                  // for every block

  // That a pixel's window has.
  int64_t window_bytes() const { return window.kernel_y * window.kernel_x * channels; }
  int64_t passes() const { return static_cast<int64_t>(bytes.size()); }
  int64_t block_bytes() const { return n_runs * quads * 64; }
  // Bytes from tap to tap of a run where that are whole quads, else 0.
  int64_t tap() const { return rows_are_runs && channels % 4 == 0 ? channels : 0; }
  // Bytes from a pixel's window to each run, in planes of that row and pixel distance.
  void runs(int64_t dilated_row, int64_t dilated_pixel, int64_t* to) const;
};

// What a window at a step takes less by events, where there are none, than by products; in units of
// IntEventKernels' costs.
float gain_of_silence(const IntEventKernels& kernels, const IntConvolution& convolution,
                      int64_t blocks);

struct IntShortcutTerm {
  int64_t source;
  int64_t stride_y, stride_x;
  int64_t channel;         // the output channel of source channel 0
  int64_t channels;        // of the source
  at::Tensor coefficient;  // int32 [blocks * 16]
  at::Tensor factors;      // the same as kernels take it: split where the layer is narrow
};

struct IntLayer {
  int64_t channels, height, width;
  int64_t blocks;  // of 16 channels
  int64_t out;     // the source that it is, -1 where nothing reads its spikes
  int shift;
  bool is_narrow;  // IntScan's
  bool is_signed;
  at::Tensor theta;   // int32 [blocks * 16], beyond the channels never reached
  at::Tensor v_init;  // int32 [1 or height * width][blocks * 16]
  at::Tensor bias;    // int32 [steps][1 or height * width][blocks * 16]
  std::vector<IntConvolution> convolutions;
  bool in_pairs;      // blocks read the same channels, so that two of them can share a tile
  bool takes_events;  // sums of all but channelwise convolutions can be made from events
  std::vector<IntShortcutTerm> shortcuts;

  int64_t pixels() const { return height * width; }
};

// What defines a layer, as it comes from Python.
struct IntLayerArguments {
  at::IntArrayRef shape;  // K, H, W
  int64_t out;
  int64_t shift;
  const at::Tensor& theta;
  const at::Tensor& v_init;
  const at::Tensor& bias;
  bool is_signed;
  const std::vector<at::Tensor>& weights;
  at::IntArrayRef windows;  // of each convolution: source, stride, padding, dilation, groups
  const std::vector<at::Tensor>& coefficients;
  at::IntArrayRef places;  // of each shortcut: source, stride, channel
};

// Checks everything that a kernel relies on, and packs.
IntLayer make_int_layer(const std::vector<IntSource>& sources, const IntLayerArguments& arguments,
                        const IntKernels& kernels);

}  // namespace spikeconv::cpu
