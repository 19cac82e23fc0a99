#include "cpu/int_words.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace spikeconv::cpu {
namespace {

int64_t parts_of(const IntSource& source) { return ceil_div(source.channels, kLanes); }

// Writes the first word of each pair to one place and the second to another; returns of how many
// words, sixteen at a time.
int64_t part_pairs(const uint16_t* from, int64_t words, uint16_t* firsts, uint16_t* seconds) {
  constexpr int64_t kTogether = 16;
  const int64_t end = words / kTogether * kTogether;
#if defined(__x86_64__)
  for (int64_t i = 0; i < end; i += kTogether) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i + 8));
    const auto low = [](__m128i pairs) { return _mm_srai_epi32(_mm_slli_epi32(pairs, 16), 16); };
    const auto high = [](__m128i pairs) { return _mm_srai_epi32(pairs, 16); };
    _mm_storeu_si128(reinterpret_cast<__m128i*>(firsts + i / 2), _mm_packs_epi32(low(a), low(b)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(seconds + i / 2),
                     _mm_packs_epi32(high(a), high(b)));
  }
#else
  for (int64_t i = 0; i < end; i += 2) {
    firsts[i / 2] = from[i];
    seconds[i / 2] = from[i + 1];
  }
#endif
  return end;
}

}  // namespace

// Steps begin at a multiple of 64 bytes, but not of 2 KiB, which would share few sets of a cache.
IntWordPlane::IntWordPlane(const IntSource& source, const IntWordForm& form, int64_t steps)
    : pitch(form.pitch), stride_y(form.stride_y), stride_x(form.stride_x) {
  constexpr int64_t kUneven = 1024;
  step = ceil_div(form.rows * pitch, kPositions) * kPositions;
  step += step % kUneven == 0 ? kPositions : 0;
  part = steps * step;
  remainder = parts_of(source) * part;
}

void words_from_bytes(const IntLookupKernels& kernels, const IntSource& source,
                      const IntPlane<const uint8_t>& from, int64_t image, const IntWordPlane& to,
                      int64_t steps, IntRange rows) {
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const uint8_t* row = from.at(source, image, y, 0);
    for (int64_t part = 0; part < parts_of(source); ++part) {
      for (int64_t t = 0; t < steps; ++t) {
        kernels.to_words(row + t * from.step + part * kLanes, source.width, from.pixel,
                         to.data + to.place(y, 0) + part * to.part + t * to.step);
      }
    }
  }
}

void bytes_from_words(const IntLookupKernels& kernels, const IntSource& source,
                      const IntWordPlane& from, const IntPlane<uint8_t>& to, int64_t image,
                      int64_t steps, IntRange rows) {
  for (int64_t y = rows.first; y < rows.last; ++y) {
    uint8_t* row = to.at(source, image, y, 0);
    for (int64_t part = 0; part < parts_of(source); ++part) {
      const auto channels =
          static_cast<int>(std::min<int64_t>(kLanes, source.channels - part * kLanes));
      for (int64_t t = 0; t < steps; ++t) {
        kernels.to_bytes(from.data + from.place(y, 0) + part * from.part + t * from.step,
                         source.width, channels, row + t * to.step + part * kLanes, to.pixel);
      }
    }
  }
}

void arrange_words(const IntSource& source, const IntWordPlane& from, const IntWordPlane& to,
                   int64_t steps, IntRange rows) {
  for (int64_t y = rows.first; y < rows.last; ++y) {
    for (int64_t part = 0; part < parts_of(source); ++part) {
      for (int64_t t = 0; t < steps; ++t) {
        const uint16_t* row = from.data + from.place(y, 0) + part * from.part + t * from.step;
        const auto column = [&](int64_t x) {
          return to.data + to.place(y, x) + part * to.part + t * to.step;
        };
        int64_t done = 0;
        if (to.stride_x == 1) {
          std::memcpy(column(0), row, source.width * sizeof(uint16_t));
          continue;
        }
        if (to.stride_x == 2) {
          done = part_pairs(row, source.width, column(0), column(1));
        }
        for (int64_t x = done; x < source.width; ++x) {
          column(x % to.stride_x)[x / to.stride_x] = row[x];
        }
      }
    }
  }
}

}  // namespace spikeconv::cpu
