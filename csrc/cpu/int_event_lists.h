// The spikes that a layer's convolutions read, as lists of places, and sums of weights at them.
#pragma once

#include <c10/util/SmallVector.h>

#include <cstddef>
#include <cstdint>

#include "cpu/int_room.h"
#include "cpu/int_run.h"

namespace spikeconv::cpu {

// Bytes of spikes that are listed together; their places are to stay in the second cache.
constexpr int64_t kBytesTogether = int64_t{1} << 19;

struct IntListMemory {
  IntRoom<uint16_t, kBytesTogether + kEventSlack> places;
  IntRoom<int32_t, kBytesTogether / 8> from;
};

// Lists for an image's output pixels [first, last), in the order of rows. A thread has one of them
// at a time.
class EventLists {
 public:
  // As many pixels from `first` on as are worth listing together: where they end, `last` at most.
  static int64_t together(const IntRun& run, int64_t first, int64_t last);

  EventLists(const IntRun& run, int64_t image, int64_t first, int64_t last);

  // Makes the lists, where adding up events takes less than multiplying everything in tiles of so
  // many blocks; returns whether it does.
  bool make(int64_t blocks);

 private:
  friend class EventSums;

  struct Listed {
    const IntConvolution* convolution;
    const IntSource* source;
    IntRange read;        // rows of the plane, its borders included
    size_t places, from;  // where its lists begin in memory
    c10::SmallVector<int64_t, 8> runs;
    c10::SmallVector<uint16_t, 8> run_shift;

    int64_t rows() const { return read.last - read.first; }
  };

  void add(const IntConvolution& convolution, int64_t first_y, int64_t last_y);
  // In units of IntEventKernels' costs.
  struct Gain {
    float without, of_event;
  };
  Gain gain_of(const Listed& listed, int64_t blocks) const;
  float in_window(const Listed& listed) const;
  static int64_t row_bytes(const Listed& listed);
  const uint8_t* row(const Listed& listed, int64_t y, int64_t step) const;
  void list(const Listed& listed);

  const IntRun& run_;
  const int64_t image_, pixels_;
  IntListMemory& memory_;
  int64_t n_places_ = 0, n_from_ = 0;
  c10::SmallVector<Listed, 2> listed_;  // none where a convolution cannot take events
};

// The sums of a tile's convolutions, from lists.
class EventSums {
 public:
  EventSums(const EventLists& lists, int64_t block, int blocks, int32_t* out);

  // Of a quad of pixels, for some steps from `first` on.
  void run(const int64_t* y, const int64_t* x, int64_t first, int steps);

 private:
  const EventLists& lists_;
  c10::SmallVector<IntEventTerm, 2> terms_;  // one for each of the lists
  IntEventDot dot_{};
};

}  // namespace spikeconv::cpu
