// What passes between the integer program's driver and the kernels that look sums up. Knows neither
// torch nor the standard library.
#pragma once

#include <stdint.h>

#include "cpu/int_extents.h"

namespace spikeconv::cpu {

// A layer of spikes of 0 and 1 whose sums are looked up. Sixteen channels of a pixel at a step are
// a word, and for each part of its bits a table of an output channel holds the sum of the weights
// that belong to it. How many parts there are, and how tables hold sums, is the kernels' own.
//
// Pixels are lanes: words lie by step and position, where a row's pixels have neighbouring
// positions and the next row's follow at a pitch, so that a tap is one distance for all of them.
// What it reads beyond the image's edges, which are other pixels, counts for nothing.
constexpr int kPositions = 32;  // of a group, whose words are looked up together

struct IntLookupTap {
  int64_t words;   // from a position to the word that it reads
  int64_t tables;  // bytes from the block's first table
  int64_t edge;    // which of a group's edges it has
};

struct IntLookupTerm {
  const uint16_t* words;  // of the first group's first position, at the first step
  int64_t step;           // words from step to step
  const IntLookupTap* taps;
  int64_t n_taps;         // each of 16 channels
  const uint32_t* edges;  // [groups][n_edges]: a row of `inside`
  int64_t n_edges;
  const uint16_t* inside;  // [rows][kPositions]: all bits where a position reads a pixel, or none
  const uint8_t* tables;   // of the block; those of a tap are [16 output channels][table_bytes]
};

// A layer's windows have so many words, at most, that are looked up.
constexpr int64_t kMostTaps = 40;

// Spikes of the same position that enter the membranes: of output channel c, coefficient[c] where
// the word at words[c] has that bit, or in the higher half of 32 bits that one.
struct IntLookupShortcut {
  const uint16_t* words[kLanes];
  int32_t bit[kLanes], high_bit[kLanes];
  int64_t step;
  const int32_t* coefficient;
};

// Sums and neurons, as IntScan has them, of one block of channels.
//
// A pass takes one of the bytes of the weights, the highest first: what it adds up to counts 256
// times what the next one does. No sum of all terms of a pass may leave 16 bits; on the way they
// may wrap.
struct IntLookup {
  const IntLookupTerm* terms;
  int passes;
  int end[kMostBytes];  // the terms of each pass end here, and those of the next one begin
  const IntLookupShortcut* shortcuts;
  int n_shortcuts;
  int groups;  // one after the other
  int steps;
  int shift;  // less than 15 where there is one pass
  const int32_t* theta;
  const int32_t* v_init;
  const int32_t* bias;  // of the first step
  int64_t bias_step;    // values from row to row
  int last_bias;        // the step from which on the row stays the same, 0 or more
  uint16_t* out;        // like a term's words, at a multiple of 64 bytes
  int64_t out_step;
};

// Neurons of one sign in floating point under a static current, as IntEncode of int_tile.h, whose
// tables differ by channel only: those of a row's pixels, into words. What is given is of the first
// step, channel and pixel, and pixels are neighbours.
struct IntEncodeWords {
  int pixels;
  int channels;  // 1 to 16
  int steps;
  const float* x;
  int64_t channel;     // values of x from channel to channel
  const float* theta;  // [16], like v_init and a row of the bias
  const float* v_init;
  const float* bias;
  int64_t bias_step;
  int last_bias;  // the step from which on the row stays the same, 0 or more
  uint16_t* out;
  int64_t out_step;
};

// Null where sums are never looked up.
struct IntLookupKernels {
  // Writes the words of neighbouring pixels from 16 of their bytes, whose distance is given, and
  // back bytes of a word's first channels.
  void (*to_words)(const uint8_t* spikes, int64_t pixels, int64_t pixel, uint16_t* to);
  void (*to_bytes)(const uint16_t* words, int64_t pixels, int channels, uint8_t* to, int64_t pixel);
  // Writes the table of an output channel from its weights for 16 channels.
  void (*table)(const int8_t* weights, uint8_t* to);
  int64_t table_bytes;
  void (*run)(const IntLookup& lookup);
  void (*encode)(const IntEncodeWords& encode);
  // A layer is looked up where its windows have so many words, and where it takes so many times the
  // words that its pixels and channels fill, at most.
  int64_t most_taps;
  float most_room;
};

}  // namespace spikeconv::cpu
