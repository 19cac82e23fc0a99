// Integer layers with Intel's AMX, whose tiles multiply 16 rows of 64 bytes by 16 channels'
// weights.
//
// Its instructions are written out: compilers' intrinsics want the registers' numbers as text, and
// GCC 12's _tile_loadconfig does not say that it reads what it is given.
#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif

#define SPIKECONV_ISA amx
#define SPIKECONV_LANES 16
#define SPIKECONV_VNNI
#include "cpu/int_channelwise.h"
#include "cpu/int_dot_tiles.h"
#include "cpu/int_encode.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::amx {

// What LDTILECFG reads.
struct alignas(64) TileConfiguration {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

// Rows of this thread's tiles between begin and end, 0 where they are not set: before and after,
// other libraries use them too.
static thread_local int rows_set = 0;

// Every statement says that it touches memory, so none moves over another or over a store.
struct Amx {
  static void set_rows(int rows) {
    if (rows == rows_set) {
      return;
    }
    TileConfiguration configuration{};
    configuration.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      configuration.row_bytes[tile] = kTileBytes;
      configuration.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : kTileQuads);
    }
    asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
    rows_set = rows;
  }

  template <int kTile>
  SPIKECONV_INLINE void clear() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile) : "memory");
  }

  template <int kTile>
  SPIKECONV_INLINE void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }

  template <int kTile>
  SPIKECONV_INLINE void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }

  // Unsigned bytes of `kSpikes` times signed bytes of `kWeights`.
  template <int kSums, int kSpikes, int kWeights>
  SPIKECONV_INLINE void multiply() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(kSums), "i"(kSpikes), "i"(kWeights)
                 : "memory");
  }
};

static void begin() { rows_set = 0; }

static void end() {
  if (rows_set != 0) {
    asm volatile("tilerelease" : : : "memory");
    rows_set = 0;
  }
}

IntKernels int_kernels() {
  return {dot_tiles<Amx>,
          dot_channelwise,
          scan,
          dot_and_scan<Amx>,
          encode,
          begin,
          end,
          bare_tiles<Amx>,
          kTileBytes,
          {},
          {}};
}

}  // namespace spikeconv::cpu::amx

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
