// The kernels for AMX with its tiles in plain C++, for tests on processors that have none.
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <stdint.h>

#define SPIKECONV_ISA amx_emulated
#define SPIKECONV_LANES 4
#include "cpu/int_channelwise.h"
#include "cpu/int_dot_tiles.h"
#include "cpu/int_encode.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::amx_emulated {

struct Registers {
  int rows[8];
  uint8_t bytes[8][16][kTileBytes];
};

static thread_local Registers registers;

struct Emulated {
  static void set_rows(int rows) {
    for (int tile = 0; tile < 8; ++tile) {
      registers.rows[tile] = tile < 6 ? rows : kTileQuads;
    }
  }

  template <int kTile>
  static void clear() {
    __builtin_memset(registers.bytes[kTile], 0, sizeof registers.bytes[kTile]);
  }

  template <int kTile>
  static void load(const void* from, int64_t stride) {
    for (int row = 0; row < registers.rows[kTile]; ++row) {
      __builtin_memcpy(registers.bytes[kTile][row], static_cast<const char*>(from) + row * stride,
                       kTileBytes);
    }
  }

  template <int kTile>
  static void store(void* to, int64_t stride) {
    for (int row = 0; row < registers.rows[kTile]; ++row) {
      __builtin_memcpy(static_cast<char*>(to) + row * stride, registers.bytes[kTile][row],
                       kTileBytes);
    }
  }

  template <int kSums, int kSpikes, int kWeights>
  static void multiply() {
    for (int row = 0; row < registers.rows[kSums]; ++row) {
      int32_t sums[kLanes];
      __builtin_memcpy(sums, registers.bytes[kSums][row], kTileBytes);
      for (int quad = 0; quad < registers.rows[kWeights]; ++quad) {
        for (int i = 0; i < kTileBytes; ++i) {
          const int product = registers.bytes[kSpikes][row][quad * 4 + i % 4] *
                              static_cast<int8_t>(registers.bytes[kWeights][quad][i]);
          sums[i / 4] = static_cast<int32_t>(static_cast<uint32_t>(sums[i / 4]) +
                                             static_cast<uint32_t>(product));
        }
      }
      __builtin_memcpy(registers.bytes[kSums][row], sums, kTileBytes);
    }
  }
};

static void nothing() {}

IntKernels int_kernels() {
  return {dot_tiles<Emulated>,
          dot_channelwise,
          scan,
          dot_and_scan<Emulated>,
          encode,
          nothing,
          nothing,
          bare_tiles<Emulated>,
          kTileBytes,
          {},
          {}};
}

}  // namespace spikeconv::cpu::amx_emulated
