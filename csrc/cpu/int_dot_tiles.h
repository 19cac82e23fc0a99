// The convolutions of a tile with a matrix unit: rows are the steps of a pixel, columns the
// channels of a block, and 64 bytes of a run are multiplied at once.
//
// `Tiles` is that unit: eight registers of rows of 64 bytes, known by number while compiling. 0 to
// 3 hold sums and 4 and 5 spikes, with a row for each step, 6 and 7 weights, with 16 rows. There
// are two such units: Intel's AMX (int_amx.cpp), and the same in plain C++ (int_amx_emulated.cpp),
// with which this file's packing, indices and ends are tested anywhere.
//
// A matrix unit takes 16 cycles for a product that is one instruction, so vectors have room beside
// it, but not behind it: a processor looks some 500 instructions ahead, and the neurons of a tile
// are more. So they are run a tile later, a few steps after every four products.
#pragma once

#include "cpu/int_lanes.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kTileBytes = 64;  // of a row
constexpr int kTileQuads = 16;  // of a row
constexpr int kWeightBytes = kTileQuads * kLanes * 4;

// How often so many are taken until there are none left.
SPIKECONV_INLINE int64_t rounds(int64_t all, int64_t together) {
  return (all + together - 1) / together;
}

// What is done besides, a turn after every four products: nothing.
struct Alone {
  SPIKECONV_MEMBER void turn() {}
};

// Or another tile's neurons, some steps of one block every so many turns.
class Neurons {
 public:
  Neurons(const IntScan& scan, int64_t turns) : scan_(scan), scan_steps_(scan_steps_of(scan)) {
    const int64_t share = rounds(int64_t{scan.blocks} * scan.steps, turns);
    steps_ = share < kFewest ? kFewest : static_cast<int>(share);
    const int64_t parts = scan.blocks * rounds(scan.steps, steps_);
    every_ = wait_ = turns < parts ? 1 : turns / parts;
  }

  void turn() {
    if (--wait_ == 0 && block_ < scan_.blocks) {
      wait_ = every_;
      run();
    }
  }

  void rest() {
    while (block_ < scan_.blocks) {
      run();
    }
  }

 private:
  // Fewer would take longer for finding their place than for themselves.
  static constexpr int kFewest = 2;

  void run() {
    const int end = scan_.steps - step_ <= steps_ ? scan_.steps : step_ + steps_;
    scan_steps_(places_, scan_, block_, step_, end);
    step_ = end;
    if (step_ == scan_.steps) {
      step_ = 0;
      ++block_;
    }
  }

  const IntScan& scan_;
  const ScanSteps scan_steps_;
  ScanPlaces places_;
  int64_t every_, wait_;
  int steps_, block_ = 0, step_ = 0;
};

// Sums of four tiles, in the registers 0 to 3: two pixels times two blocks, or four pixels.
template <class Tiles, int kCount>
struct TileSums {
  static constexpr int kTilePixels = 4 / kCount;

  // Adds one term for the pixels from `first` on. Of two blocks each operand serves twice.
  template <class Besides>
  SPIKECONV_INLINE void add(const IntTerm& term, int first, Besides& besides) {
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
        besides.turn();
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

template <class Tiles, int kCount, class Besides>
static void dot_blocks(const IntDot& d, Besides& besides) {
  TileSums<Tiles, kCount> sums;
  for (int first = 0; first < kPixels; first += sums.kTilePixels) {
    int32_t* out = d.out + first * kCount * kLanes;
    sums.clear();
    for (int i = 0; i < d.n_terms; ++i) {
      if (d.terms[i].up) {
        sums.store(out);
        for (int t = 0; t < d.steps; ++t) {
          for (int j = 0; j < 4; ++j) {
            int32_t* at = out + (t * kPixels * kCount + j) * kLanes;
            store(at, shift_left(load(at), 8));
          }
        }
        sums.load(out);
      }
      sums.add(d.terms[i], first, besides);
    }
    sums.store(out);
  }
}

template <class Tiles, class Besides>
static void dot_besides(const IntDot& d, Besides& besides) {
  Tiles::set_rows(d.steps);
  if (d.blocks == 2) {
    dot_blocks<Tiles, 2>(d, besides);
  } else {
    dot_blocks<Tiles, 1>(d, besides);
  }
}

template <class Tiles>
static void dot_tiles(const IntDot& d) {
  Alone alone;
  dot_besides<Tiles>(d, alone);
}

// How often four products are made.
static int64_t turns_of(const IntDot& d) {
  int64_t turns = 0;
  for (int i = 0; i < d.n_terms; ++i) {
    turns += d.terms[i].n_runs * rounds(d.terms[i].quads, kTileQuads);
  }
  return d.blocks * turns;
}

template <class Tiles>
static void dot_and_scan(const IntDot& dot, const IntScan& scan) {
  Neurons neurons(scan, turns_of(dot));
  dot_besides<Tiles>(dot, neurons);
  neurons.rest();
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
