#include "cpu/isa.h"

#include <c10/util/Exception.h>
#include <torch/library.h>

#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace spikeconv::cpu {
namespace {

struct Isa {
  const char* name;
  IfAdvance (*if_advance)(const IfVariant& variant);
  GoBack (*go_back)(const BackwardVariant& variant);
  IntKernels (*int_kernels)();
};

#if defined(__x86_64__)
bool has_f16c() {  // not every compiler's __builtin_cpu_supports knows the name
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

// Whether looking up takes less time than multiplying. AMD's processors look words (since Zen 4) or
// bytes of two registers up in a cycle. Intel's take one to three cycles for a register of words,
// in which they multiply as much; what bytes take there has not been measured.
bool permutes_fast() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

#if defined(__x86_64__) && defined(__linux__)
// Whether processor and system have AMX with bytes, and the system lets this process use it: the
// registers are large, so it wants to be asked once.
bool may_use_amx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kTile) == 0 ||
      (edx & kInt8) == 0) {
    return false;
  }
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of arch_prctl
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

// What this processor can run, best last.
std::vector<Isa> runnable() {
  std::vector<Isa> isas = {
      {"default", baseline::if_advance, baseline::go_back, baseline::int_kernels}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && has_f16c()) {
    isas.push_back({"avx2", avx2::if_advance, avx2::go_back, avx2::int_kernels});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      isas.push_back({"avx512", avx512::if_advance, avx512::go_back, avx512::int_kernels});
      if (__builtin_cpu_supports("avx512vnni")) {
        isas.push_back(
            {"avx512_vnni", avx512::if_advance, avx512::go_back, avx512_vnni::int_kernels});
#if defined(__linux__)
        static const bool allowed = may_use_amx();
        if (allowed) {
          isas.push_back({"amx", avx512::if_advance, avx512::go_back, amx::int_kernels});
        }
#endif
      }
    }
  }
#endif
  return isas;
}

Isa find(const std::string& asked, const char* argument) {
  std::string names;
  for (const Isa& isa : runnable()) {
    if (asked == isa.name) {
      return isa;
    }
    names += (names.empty() ? "" : ", ") + std::string(isa.name);
  }
  TORCH_CHECK(false, argument, " must be one of ", names, " on this processor, got ", asked);
}

Isa choose() {
  const char* asked = std::getenv("SPIKECONV_ISA");
  return asked == nullptr || *asked == '\0' ? runnable().back() : find(asked, "SPIKECONV_ISA");
}

const Isa& chosen() {
  static const Isa isa = choose();  // an exception leaves it unset, so every call tells
  return isa;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa& isa : runnable()) {
    names.emplace_back(isa.name);
  }
  return names;
}

}  // namespace

std::string isa_name() { return chosen().name; }

IfAdvance if_advance(const IfVariant& variant) { return chosen().if_advance(variant); }
GoBack go_back(const BackwardVariant& variant) { return chosen().go_back(variant); }

IntKernels int_kernels(const std::string& name, const std::string& sums) {
  // For tests, on any processor; not a choice for anybody else.
  IntKernels kernels = name == "amx_emulated" ? amx_emulated::int_kernels()
                                              : find(name, "_IntegerProgram: isa").int_kernels();
  TORCH_CHECK(sums == "auto" || sums == "products" || sums == "events" || sums == "lookups",
              "_IntegerProgram: sums must be auto, products, events or lookups, got ", sums);
  if (sums == "auto") {
    if (!permutes_fast()) {
      kernels.lookups = {};
    }
    return kernels;
  }
  // What is asked for costs nothing.
  const IntEventKernels& events = kernels.events;
  kernels.events = sums == "events"
                       ? IntEventKernels{events.list, events.count, events.dot, 0, 0, 0, 0}
                       : IntEventKernels{};
  IntLookupKernels lookups{};
  if (sums == "lookups") {
    lookups = kernels.lookups;
    lookups.most_taps = kMostTaps;
    lookups.most_room = std::numeric_limits<float>::infinity();
  }
  kernels.lookups = lookups;
  return kernels;
}

TORCH_LIBRARY_IMPL(spikeconv, CompositeExplicitAutograd, library) {
  library.impl("_cpu_isa", TORCH_FN(isa_name));
  library.impl("_cpu_isas", TORCH_FN(isa_names));
}

}  // namespace spikeconv::cpu
