// The spikes that a layer's convolutions read, as words, and sums of weights looked up by them.
#pragma once

#include <c10/util/SmallVector.h>

#include <cstddef>
#include <cstdint>

#include "cpu/int_room.h"
#include "cpu/int_run.h"

namespace spikeconv::cpu {

using IntWordMemory = IntRoom<uint16_t, size_t{1} << 16>;

// Words of what an image's output pixels [first, last) read, in the order of rows. A thread has one
// of them at a time.
class LookupWords {
 public:
  LookupWords(const IntRun& run, int64_t image, int64_t first, int64_t last);

  // What is gained over multiplying everything by looking up so many blocks, in units of
  // IntEventKernels' costs; 0 where a layer's sums cannot be looked up.
  float gain(int64_t blocks) const;

  void write();

 private:
  friend class LookupSums;

  struct Source {
    const IntConvolution* convolution;
    const IntSource* source;
    IntRange read;  // rows of the plane, its borders included
    size_t at;      // where its words begin in memory
    c10::SmallVector<IntLookupTap, 9> taps;

    int64_t words() const { return source->channels / kLanes; }
    int64_t stride() const { return convolution->window.stride_x; }
    // Columns of a row lie by their remainder by the stride, so that what neighbouring outputs read
    // lies side by side: the first one's place of those that leave a remainder, and any one's.
    int64_t first_place(int64_t remainder) const;
    int64_t place(int64_t column) const {
      return first_place(column % stride()) + column / stride();
    }
    // From row to row, and from one 16 channels of a row to the next.
    int64_t row(int64_t steps) const { return words() * part(steps); }
    int64_t part(int64_t steps) const { return source->columns() * steps; }
    int64_t size(int64_t steps) const { return (read.last - read.first) * row(steps); }
  };

  // Steps that run in more chunks than these are not looked up.
  static constexpr int kMostChunks = 2;

  void add(const IntConvolution& convolution, IntRange rows);

  const IntRun& run_;
  const int64_t image_, pixels_;
  IntWordMemory& memory_;
  size_t size_ = 0;
  c10::SmallVector<Source, 2> sources_;
};

// The sums of a block's convolutions, looked up for several quads of pixels at once.
class LookupSums {
 public:
  // Values that are needed at `out`.
  static constexpr int kValues = LookupWords::kMostChunks * kWordsTogether * kLanes;

  // For quads before `last`.
  LookupSums(const LookupWords& words, int64_t block, int64_t last, int32_t* out);

  // Those of a quad and a chunk of the run's steps; to be asked for quad by quad, all chunks of
  // each.
  int32_t* run(int64_t quad, int64_t chunk);

 private:
  void look_up(int64_t quad, int64_t chunk);

  const LookupWords& words_;
  const int64_t quads_of_row_, last_;
  int32_t* out_;
  int64_t begin_[LookupWords::kMostChunks] = {};
  int64_t end_[LookupWords::kMostChunks] = {};  // the quads whose sums are there
  c10::SmallVector<IntLookupTerm, 2> terms_;    // one for each of the sources
  IntLookupDot dot_{};
};

}  // namespace spikeconv::cpu
