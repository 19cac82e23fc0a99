// What passes between the integer program's driver and its kernels, which are compiled once per
// instruction set. Knows neither torch nor the standard library.
//
// The unit of work is a tile: four output pixels, anywhere, times some steps, times up to four
// blocks of 16 output channels. First the convolutions of a tile add up into int32 (dot), then its
// neurons run over the steps (scan). What is added up never leaves the caches.
#pragma once

#include <stdint.h>

#include "cpu/int_extents.h"
#include "cpu/int_lookup.h"

namespace spikeconv::cpu {

// One convolution, or one of the bytes of its weights: what it reads is `n_runs` runs of bytes,
// each `4 * quads` long, at fixed distances from each pixel's window. Bytes are spikes plus a zero
// point.
struct IntTerm {
  const uint8_t* spikes[kPixels];  // the pixels' windows at the tile's first step
  int64_t step;                    // bytes from step to step
  const int64_t* runs;             // bytes from the window to each run
  int64_t n_runs;
  int64_t quads;
  int64_t tap;     // bytes from tap to tap where a run is a row of them, a multiple of 4; or 0
  int64_t narrow;  // so many quads add up in two sums of 16 bits; 0 where not even one does
  const int8_t* weights;  // of the tile's first block: [n_runs][quads][16 channels][4 bytes]
  int64_t block_bytes;    // from one block's weights to the next's
  bool up;                // what the terms before it add up to counts 256 times
  bool wide;              // channelwise, with weights of more than 16 bits
};

// out[step][pixel][block][channel] = sum of the terms, modulo 2^32, where each with `up` takes the
// sum before it 8 bits up; after dot. Then dot_channelwise adds its terms, or is alone where there
// are no others.
//
// In a channelwise term each channel reads itself: its runs are taps, of which a block reads 16
// bytes, and its weights int32 values, [n_runs][16 channels] for each block.
struct IntDot {
  const IntTerm* terms;
  int n_terms;
  const IntTerm* channelwise;
  int n_channelwise;
  int steps;   // 1 to kTileSteps
  int blocks;  // 1 to kPair, or of dot_channelwise after events, to kBlocks
  int32_t* out;
};

// Spikes of one convolution's source as a list of places: where few neurons fire, adding up the
// weights of those that did takes less than multiplying all of them. A place is 8 times the byte's
// index in its row, modulo 2^16.
struct IntEventTerm {
  const uint16_t* places;  // of all rows
  const int32_t*
      from[kPixels];          // at the window's first pixel, row and step: where its places begin
  uint16_t shift[kPixels];    // to be added to places, so that the window's first one is 0
  int64_t step;               // from step to step of `from`
  const int64_t* runs;        // of `from`, from the window to each run
  const uint16_t* run_shift;  // to be added to a run's places
  int64_t n_runs;
  int64_t pixels;  // of a run
  uint16_t none;   // the place of a row of zeros
  // Weights of the tile's blocks, from their lowest byte on: [places / 8][kBlocks][16 channels].
  const int8_t* rows[kMostBytes];
  int bytes;  // of a weight
};

// Like IntDot, of events alone.
struct IntEventDot {
  const IntEventTerm* terms;
  int n_terms;
  int steps;
  int blocks;
  int32_t* out;
};

// A window has at most so many bytes, so that a place, and that of the row of zeros, has 16 bits.
constexpr int64_t kLargestWindow = 8191;

// Places after the last one that may be read or written.
constexpr int64_t kEventSlack = 64;

// Null where sums are always products.
struct IntEventKernels {
  // Writes the places of the spikes of a row's pixels from places[at] on, and to from[pixel] where
  // its places begin, one more than there are pixels. Returns the last of them. May write
  // kEventSlack places more.
  int32_t (*list)(const uint8_t* spikes, int64_t pixels, int64_t channels, uint16_t* places,
                  int32_t at, int32_t* from);
  int64_t (*count)(const uint8_t* spikes, int64_t bytes);
  void (*dot)(const IntEventDot& dot);
  // What they take beside the product of a byte with a block's weights, as measured on a Zen 5: for
  // a byte that is listed; for the window of a pixel at a step, each run, each pair of blocks, and
  // each event in each pair.
  float byte_cost, run_cost, window_cost, event_cost;
};

// Spikes of the same place that enter the membranes: per block coefficient[channel] times the 16
// bytes from `spikes` on. Channels that receive nothing have coefficient 0. Where IntScan is
// narrow, a coefficient is given as its lowest byte and 65536 times the rest: two factors of 16
// bits.
struct IntShortcut {
  const uint8_t* spikes[kPixels];
  int64_t step;
  const int32_t* coefficient;  // [blocks][16]
};

// Where an IntScan is narrow, bytes of shortcuts are so many at most, and coefficients have so many
// bits.
constexpr int64_t kNarrowByte = 127;
constexpr int kNarrowBits = 24;

// The neurons of a tile. For each step t, pixel and channel, modulo 2^32, with acc from IntDot:
//
//   m = v + (acc << shift) + sum of shortcuts + bias[t]
//   s = 1 where m >= theta; signed: -1 where m < 0 and net > 0, and net += s
//   v = m - theta * s
//
// Tables of a pixel hold [block][channel]; where a pointer is given for each pixel, it is there.
struct IntScan {
  const int32_t* acc;
  int steps;
  int blocks;
  int shift;
  bool is_narrow;  // acc has 16 bits, and so has 2^shift; shortcuts are narrow
  const int32_t* theta;
  const int32_t* bias[kPixels];  // of the first step
  int64_t bias_step;             // values from row to row
  int last_bias;                 // the step from which on the row stays the same, 0 or more
  const IntShortcut* shortcuts;
  int n_shortcuts;
  const int32_t* v_before[kPixels];
  const int32_t* net_before;  // [pixel][block][channel], or null: zeros
  int32_t* v;                 // likewise, or null: not wanted; may be what v_before points to
  int32_t* net;               // the net count, likewise
  bool is_signed;
  uint8_t*
      out[kPixels];  // spikes plus zero point of the first step; null where they are not wanted
  int64_t out_step;  // bytes from step to step
  int channels;      // of which there is an output, 1 to 16 * blocks
};

constexpr int kEncodePixels = 16;

// Neurons in floating point over a static current, as if_neuron.h has them, for one block of
// channels of neighbouring pixels. x, v, net and count are [kEncodePixels][16]; the tables have a
// distance from pixel to pixel, which may be 0.
struct IntEncode {
  int pixels;    // 1 to kEncodePixels
  int channels;  // of which there is an output, 1 to 16
  int steps;
  bool is_signed;
  const float* x;
  const float* theta;
  int64_t theta_pixel;
  const float* bias;  // of the first step; kNoBias where there is none
  int64_t bias_pixel, bias_step;
  int last_bias;   // the step from which on the row stays the same, 0 or more
  float* v;        // before, and after
  int32_t* net;    // likewise; of signed neurons
  int32_t* count;  // of these steps
  uint8_t* out;    // spikes plus zero point of the first pixel and step, or null
  int64_t out_pixel, out_step;
};

struct IntKernels {
  void (*dot)(const IntDot& dot);
  void (*dot_channelwise)(const IntDot& dot);
  void (*scan)(const IntScan& scan);
  // Both, of two tiles, where a matrix unit can multiply while vectors run neurons; null elsewhere.
  // Neither may read what the other writes.
  void (*dot_and_scan)(const IntDot& dot, const IntScan& scan);
  void (*encode)(const IntEncode& encode);
  // Before the first call of dot by a thread, and after the last: nothing else that may use matrix
  // units runs in between.
  void (*begin)();
  void (*end)();
  // As many products as `rounds` passes of a loop over registers make, with nothing else around the
  // multiplications of dot: what they could do at best. Returns how many products that are.
  int64_t (*bare)(int64_t rounds);
  int run_bytes;  // runs are padded with zero weights to a multiple of so many bytes

  IntEventKernels events;
  IntLookupKernels lookups;
};

namespace baseline {
IntKernels int_kernels();
}
namespace amx_emulated {
IntKernels int_kernels();
}
#if defined(__x86_64__)
namespace avx2 {
IntKernels int_kernels();
}
namespace avx512 {
IntKernels int_kernels();
}
namespace avx512_vnni {
IntKernels int_kernels();
}
#if defined(__linux__)
namespace amx {
IntKernels int_kernels();
}
#endif
#endif

}  // namespace spikeconv::cpu
