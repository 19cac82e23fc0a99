// How large the integer program's sizes may be, and how far its windows may reach.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>

namespace spikeconv::cpu {

// Sizes, strides and halos stay far from where products of them overflow.
constexpr int64_t kLargestSize = int64_t{1} << 20;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where a may be negative.
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

// From first to before last.
struct IntRange {
  int64_t first, last;
};

// One direction of a window that moves over a source.
struct IntReach {
  int64_t outputs, stride, padding;
  int64_t extent;               // with dilation
  int64_t size, before, after;  // of the source, and its borders
};

// What is read lies within the image and its borders.
inline void check_reach(const char* method, const char* reader, const char* direction,
                        const IntReach& r) {
  const int64_t last = (r.outputs - 1) * r.stride - r.padding + r.extent - 1;
  TORCH_CHECK(r.padding <= r.before && last < r.size + r.after, method, ": ", reader, " reads ",
              direction, " from ", -r.padding, " to ", last, " of a source that has ", r.size,
              ", with a halo of ", r.before, " before and ", r.after, " after it");
}

}  // namespace spikeconv::cpu
