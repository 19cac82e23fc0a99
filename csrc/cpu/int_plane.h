// How spikes lie in memory between integer layers: a plane, uint8 [B, H', T, W', C], in which each
// byte is a spike (or a pool's sum) plus a zero point, so that it has no sign. H' and W' include
// the borders that convolutions see beyond the image, which hold the zero point.
//
// Time lies between row and column: the taps of one row of a window are then one run of bytes, and
// the steps of a pixel are rows at one distance, as tiles of matrix units want them.
#pragma once

#include <cstdint>

namespace spikeconv::cpu {

// Bytes before and after a plane that may be read, and count for nothing: kernels read whole
// vectors and multiply what does not belong to them by zero.
constexpr int64_t kSlack = 128;

// What a plane holds: IntegerProgram's Source.
struct IntSource {
  int64_t channels, height, width;
  int64_t largest;  // of a sum of spikes
  bool is_signed;
  int64_t above, left, below, right;  // borders
  bool is_static = false;             // the same at every step, of which a plane holds one

  uint8_t zero() const { return static_cast<uint8_t>(is_signed ? largest : 0); }
  int64_t largest_byte() const { return zero() + largest; }
  int64_t rows() const { return above + height + below; }
  int64_t columns() const { return left + width + right; }

  // Bytes from step to step. Rows at a multiple of 2 KiB would share few sets of a cache.
  int64_t step_bytes() const {
    const int64_t bytes = columns() * channels;
    return bytes % 2048 == 0 ? bytes + 64 : bytes;
  }
  int64_t steps_held(int64_t steps) const { return is_static ? 1 : steps; }
  int64_t image_bytes(int64_t steps) const { return rows() * steps_held(steps) * step_bytes(); }
  int64_t plane_bytes(int64_t images, int64_t steps) const {
    return kSlack + images * image_bytes(steps) + kSlack;
  }
};

// A plane in memory, for one number of steps.
template <class Byte>
struct IntPlane {
  Byte* data = nullptr;  // the first image's first byte, a border's where there is one
  int64_t image = 0, row = 0, step = 0, pixel = 0;

  // The pixel of an image, which may lie in the borders.
  Byte* at(const IntSource& source, int64_t b, int64_t y, int64_t x) const {
    return data + b * image + (y + source.above) * row + (x + source.left) * pixel;
  }

  IntPlane<const Byte> for_reading() const { return {data, image, row, step, pixel}; }
};

// Writes the zero point around the pixels of a plane with one image: rows above and below, columns
// beside, and what lies before, after and between rows.
void write_borders(const IntSource& source, const IntPlane<uint8_t>& plane, int64_t steps);

// How often each pixel and channel of an image's row fired, [width][channels], of spikes of 0
// and 1.
void count_spikes(const IntSource& source, const IntPlane<const uint8_t>& plane, int64_t steps,
                  int64_t image, int64_t y, int32_t* counts);

template <class Byte>
IntPlane<Byte> plane_of(const IntSource& source, Byte* memory, int64_t steps) {
  return {memory + kSlack, source.image_bytes(steps),
          source.steps_held(steps) * source.step_bytes(),
          source.is_static ? 0 : source.step_bytes(), source.channels};
}

}  // namespace spikeconv::cpu
