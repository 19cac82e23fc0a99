// How spikes of 0 and 1 lie in memory between layers whose sums are looked up: words of sixteen
// channels, uint16 [remainders][C / 16][T][positions], of one image.
//
// Positions are pixels row by row, from row to row at a pitch, without borders. For a convolution
// that moves by strides, rows and columns are divided by their remainders, so that what
// neighbouring outputs read lies side by side.
#pragma once

#include <cstdint>

#include "cpu/int_plane.h"
#include "cpu/int_sizes.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

struct IntWordForm {
  int64_t source;
  int64_t stride_y, stride_x;
  // Of one remainder; or more, where the layer that reads them has more of its own: its pixels have
  // the positions of what they read.
  int64_t rows, pitch;

  bool operator==(const IntWordForm& other) const {
    return source == other.source && stride_y == other.stride_y && stride_x == other.stride_x &&
           rows == other.rows && pitch == other.pitch;
  }
};

// Of a form, for one number of steps.
struct IntWordPlane {
  uint16_t* data = nullptr;                   // at a multiple of 64 bytes, behind the slack
  int64_t step = 0, part = 0, remainder = 0;  // words from one to the next
  int64_t pitch = 0, stride_y = 1, stride_x = 1;

  IntWordPlane() = default;
  IntWordPlane(const IntSource& source, const IntWordForm& form, int64_t steps);

  // Words before and behind the plane, which may be read: a step has room for the pixels of a layer
  // and for those that it reads, so no tap is further from one to the other.
  int64_t slack() const { return step; }
  int64_t size() const { return slack() + stride_y * stride_x * remainder + slack(); }

  // Words from the first pixel's on to that of a pixel, which may lie outside of the image.
  int64_t place(int64_t y, int64_t x) const {
    const int64_t row = floor_div(y, stride_y), column = floor_div(x, stride_x);
    const int64_t left = (y - row * stride_y) * stride_x + x - column * stride_x;
    return left * remainder + row * pitch + column;
  }
};

// These do rows [first, last) of the source. Words from an image's bytes, with strides of 1.
void words_from_bytes(const IntLookupKernels& kernels, const IntSource& source,
                      const IntPlane<const uint8_t>& from, int64_t image, const IntWordPlane& to,
                      int64_t steps, IntRange rows);
void bytes_from_words(const IntLookupKernels& kernels, const IntSource& source,
                      const IntWordPlane& from, const IntPlane<uint8_t>& to, int64_t image,
                      int64_t steps, IntRange rows);
// Words in another form, from one with strides of 1.
void arrange_words(const IntSource& source, const IntWordPlane& from, const IntWordPlane& to,
                   int64_t steps, IntRange rows);

}  // namespace spikeconv::cpu
