// The convolutions of a tile with a matrix unit: rows are the steps of a pixel, columns the
// channels of a block, and 64 bytes of a run are multiplied at once.
//
// `Tiles` is that unit: eight registers of rows of 64 bytes, known by number while compiling. 0 to
// 3 hold sums and 4 and 5 spikes, with a row for each step, 6 and 7 weights, with 16 rows. There
// are two such units: Intel's AMX (int_amx.cpp), and the same in plain C++ (int_amx_emulated.cpp),
// with which this file's packing, indices and ends are tested anywhere.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kTileBytes = 64;  // of a row
constexpr int kTileQuads = 16;  // of a row
constexpr int kWeightBytes = kTileQuads * kLanes * 4;

// Sums of four tiles, in the registers 0 to 3: two pixels times two blocks, or four pixels.
template <class Tiles, int kCount>
struct TileSums {
  static constexpr int kTilePixels = 4 / kCount;

  // Adds one term for the pixels from `first` on. Of two blocks each operand serves twice.
  SPIKECONV_INLINE void add(const IntTerm& term, int first) {
    const int8_t* weights = term.weights;
    for (int64_t run = 0; run < term.n_runs; ++run) {
      int64_t at = term.runs[run];
      for (int64_t quad = 0; quad < term.quads; quad += kTileQuads) {
        const uint8_t* const* spikes = term.spikes + first;
        if constexpr (kCount == 2) {
          Tiles::template load<4>(spikes[0] + at, term.step);
          Tiles::template load<6>(weights, kTileBytes);
          Tiles::template multiply<0, 4, 6>();
          Tiles::template load<7>(weights + term.block_bytes, kTileBytes);
          Tiles::template multiply<1, 4, 7>();
          Tiles::template load<5>(spikes[1] + at, term.step);
          Tiles::template multiply<2, 5, 6>();
          Tiles::template multiply<3, 5, 7>();
        } else {
          Tiles::template load<6>(weights, kTileBytes);
          Tiles::template load<4>(spikes[0] + at, term.step);
          Tiles::template multiply<0, 4, 6>();
          Tiles::template load<5>(spikes[1] + at, term.step);
          Tiles::template multiply<1, 5, 6>();
          Tiles::template load<4>(spikes[2] + at, term.step);
          Tiles::template multiply<2, 4, 6>();
          Tiles::template load<5>(spikes[3] + at, term.step);
          Tiles::template multiply<3, 5, 6>();
        }
        at += kTileBytes;
        weights += kWeightBytes;
      }
    }
  }

  SPIKECONV_INLINE void clear() {
    Tiles::template clear<0>();
    Tiles::template clear<1>();
    Tiles::template clear<2>();
    Tiles::template clear<3>();
  }

  // The sums' places follow one another; those of the next step are all pixels and blocks later.
  SPIKECONV_INLINE void store(int32_t* to) {
    Tiles::template store<0>(to, kStepBytes);
    Tiles::template store<1>(to + kLanes, kStepBytes);
    Tiles::template store<2>(to + 2 * kLanes, kStepBytes);
    Tiles::template store<3>(to + 3 * kLanes, kStepBytes);
  }

  SPIKECONV_INLINE void load(const int32_t* from) {
    Tiles::template load<0>(from, kStepBytes);
    Tiles::template load<1>(from + kLanes, kStepBytes);
    Tiles::template load<2>(from + 2 * kLanes, kStepBytes);
    Tiles::template load<3>(from + 3 * kLanes, kStepBytes);
  }

  static constexpr int64_t kStepBytes = int64_t{kPixels} * kCount * kLanes * sizeof(int32_t);
};

template <class Tiles, int kCount>
static void dot_blocks(const IntDot& d) {
  TileSums<Tiles, kCount> sums;
  for (int first = 0; first < kPixels; first += sums.kTilePixels) {
    int32_t* out = d.out + first * kCount * kLanes;
    sums.clear();
    if (d.n_high > 0) {
      for (int i = 0; i < d.n_high; ++i) {
        sums.add(d.terms[i], first);
      }
      sums.store(out);
      for (int t = 0; t < d.steps; ++t) {
        for (int i = 0; i < 4; ++i) {
          int32_t* at = out + (t * kPixels * kCount + i) * kLanes;
          store(at, shift_left(spikeconv::cpu::SPIKECONV_ISA::load(at), 8));
        }
      }
      sums.load(out);
    }
    for (int i = d.n_high; i < d.n_terms; ++i) {
      sums.add(d.terms[i], first);
    }
    sums.store(out);
  }
}

template <class Tiles>
static void dot_tiles(const IntDot& d) {
  Tiles::set_rows(d.steps);
  if (d.blocks == 2) {
    dot_blocks<Tiles, 2>(d);
  } else {
    dot_blocks<Tiles, 1>(d);
  }
}

template <class Tiles>
static int64_t bare_tiles(int64_t rounds) {
  alignas(64) static const uint8_t zeros[kTileQuads * kTileBytes] = {};
  Tiles::set_rows(kTileSteps);
  TileSums<Tiles, 2>::clear();
  Tiles::template load<4>(zeros, kTileBytes);
  Tiles::template load<5>(zeros, kTileBytes);
  Tiles::template load<6>(zeros, kTileBytes);
  Tiles::template load<7>(zeros, kTileBytes);
  for (int64_t round = 0; round < rounds; ++round) {
    Tiles::template multiply<0, 4, 6>();
    Tiles::template multiply<1, 4, 7>();
    Tiles::template multiply<2, 5, 6>();
    Tiles::template multiply<3, 5, 7>();
  }
  return rounds * 4 * kTileSteps * kTileBytes * kLanes;
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
