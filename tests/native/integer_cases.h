// What the programs that run random cases through the integer kernels share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/int_tile.h"

using namespace spikeconv::cpu;

inline uint64_t state = 1;

inline int draw(int low, int high) {  // both included
  state = state * 6364136223846793005u + 1442695040888963407u;
  return low + static_cast<int>((state >> 33) % static_cast<uint64_t>(high - low + 1));
}

template <class Value>
std::vector<Value> draws(size_t count, int low, int high) {
  std::vector<Value> values(count);
  for (Value& value : values) {
    value = static_cast<Value>(draw(low, high));
  }
  return values;
}

// Like an allocation of torch: kernels may expect tables at a multiple of 64.
template <class Value>
struct Table {
  explicit Table(const std::vector<Value>& from) {
    const size_t bytes = from.size() * sizeof(Value);
    data = static_cast<Value*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
    std::memcpy(data, from.data(), bytes);
  }
  ~Table() { std::free(data); }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  Value* data;
};

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "%s differs from the plain loops\n", what);
  std::exit(1);
}

inline void check(bool equal, const char* what) {
  if (!equal) {
    fail(what);
  }
}

inline IntKernels kernels_of(const std::string& isa) {
  if (isa == "default") return baseline::int_kernels();
  if (isa == "amx_emulated") return amx_emulated::int_kernels();
#if defined(__x86_64__) && !defined(SPIKECONV_PORTABLE)
  if (isa == "avx2") return avx2::int_kernels();
  if (isa == "avx512") return avx512::int_kernels();
  if (isa == "avx512_vnni") return avx512_vnni::int_kernels();
#if defined(__linux__)
  if (isa == "amx") return amx::int_kernels();
#endif
#endif
  std::fprintf(stderr, "no instruction set %s\n", isa.c_str());
  std::exit(2);
}
