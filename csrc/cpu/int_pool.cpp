#include "cpu/int_pool.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>

#include "cpu/int_sizes.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_IntegerProgram.add_pool";

void check_direction(const char* direction, const IntReach& r) {
  TORCH_CHECK(r.extent >= 1 && r.extent <= kLargestSize && r.stride >= 1 &&
                  r.stride <= kLargestSize && r.padding >= 0,
              kName, ": kernel and stride must be 1 or more and padding 0 or more, got ", r.extent,
              ", ", r.stride, ", ", r.padding);
  check_reach(kName, "the pool", direction, r);
}

}  // namespace

IntPool make_int_pool(const std::vector<IntSource>& sources, int64_t source, int64_t out,
                      at::IntArrayRef numbers) {
  TORCH_CHECK(numbers.size() == 6, kName, ": window must have 6 numbers, got ", numbers);
  const IntSource& from = sources[source];
  const IntSource& to = sources[out];
  TORCH_CHECK(!from.is_static && !to.is_static, kName, ": only a shortcut reads a static source");
  const IntPool pool{source,     out,        numbers[0], numbers[1],
                     numbers[2], numbers[3], numbers[4], numbers[5]};
  check_direction("rows", {to.height, pool.stride_y, pool.above, pool.kernel_y, from.height,
                           from.above, from.below});
  check_direction("columns", {to.width, pool.stride_x, pool.left, pool.kernel_x, from.width,
                              from.left, from.right});
  TORCH_CHECK(from.channels == to.channels && from.is_signed == to.is_signed &&
                  pool.kernel_y * pool.kernel_x * from.largest <= to.largest,
              kName, ": source ", out, " must have the channels and sign of source ", source,
              ", and hold sums of ", pool.kernel_y * pool.kernel_x, " of its spikes");
  return pool;
}

void run_pool_row(const IntPool& pool, const std::vector<IntSource>& sources,
                  const IntPlane<const uint8_t>& from, const IntPlane<uint8_t>& to, int64_t steps,
                  int64_t image, int64_t y) {
  const IntSource& source = sources[pool.source];
  const IntSource& out = sources[pool.out];
  const int64_t channels = out.channels;
  const uint8_t correction = pool.correction(sources);
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t x = 0; x < out.width; ++x) {
      uint8_t* sums = to.at(out, image, y, x) + t * to.step;
      std::memset(sums, correction, channels);
      for (int64_t ky = 0; ky < pool.kernel_y; ++ky) {
        for (int64_t kx = 0; kx < pool.kernel_x; ++kx) {
          const uint8_t* spikes = from.at(source, image, y * pool.stride_y - pool.above + ky,
                                          x * pool.stride_x - pool.left + kx) +
                                  t * from.step;
          for (int64_t c = 0; c < channels; ++c) {  // modulo 256; the last sum is a byte
            sums[c] = static_cast<uint8_t>(sums[c] + spikes[c]);
          }
        }
      }
    }
  }
}

}  // namespace spikeconv::cpu
