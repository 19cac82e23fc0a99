#include "cpu/int_plane.h"

#include <algorithm>
#include <cstring>

namespace spikeconv::cpu {
namespace {

// memset for a few pixels, of which there are many: without a call.
inline void fill_few(uint8_t* bytes, int64_t count, uint8_t value) {
  constexpr int64_t kStore = 16, kFew = 16 * kStore;
  if (count < kStore || count > kFew) {
    std::memset(bytes, value, count);
    return;
  }
  for (int64_t i = 0; i + kStore < count; i += kStore) {
    std::memset(bytes + i, value, kStore);
  }
  std::memset(bytes + count - kStore, value, kStore);
}

}  // namespace

void write_borders(const IntSource& source, const IntPlane<uint8_t>& plane, int64_t steps) {
  const uint8_t zero = source.zero();
  const int64_t pixels = source.width * source.channels;
  // From the end of a row's pixels to the beginning of the next row's, which is the next step's.
  const int64_t between = source.step_bytes() - pixels;
  uint8_t* const begin = plane.data - kSlack;
  uint8_t* const end = begin + source.plane_bytes(1, steps);
  uint8_t* row = plane.data + source.above * plane.row + source.left * plane.pixel;
  std::memset(begin, zero, row - begin);
  for (int64_t left = source.height * steps - 1; left > 0; --left, row += plane.step) {
    fill_few(row + pixels, between, zero);
  }
  std::memset(row + pixels, zero, end - (row + pixels));
}

void count_spikes(const IntSource& source, const IntPlane<const uint8_t>& plane, int64_t steps,
                  int64_t image, int64_t y, int32_t* counts) {
  constexpr int64_t kTogether = 64, kMostSteps = 255;  // that a byte can count
  const int64_t values = source.width * source.channels;
  const uint8_t* row = plane.at(source, image, y, 0);
  for (int64_t first = 0; first < values; first += kTogether) {
    int32_t sums[kTogether] = {};
    for (int64_t begin = 0; begin < steps; begin += kMostSteps) {
      uint8_t bytes[kTogether] = {};
      for (int64_t t = begin; t < std::min(steps, begin + kMostSteps); ++t) {
        const uint8_t* from = row + t * plane.step + first;  // of the last ones, some of the slack
        for (int64_t i = 0; i < kTogether; ++i) {
          bytes[i] = static_cast<uint8_t>(bytes[i] + from[i]);
        }
      }
      for (int64_t i = 0; i < kTogether; ++i) {
        sums[i] += bytes[i];
      }
    }
    std::copy_n(sums, std::min(kTogether, values - first), counts + first);
  }
}

}  // namespace spikeconv::cpu
