// What a layer whose sums are looked up is compiled for. Included inside the integer kernels' .cpp
// files only, once per instruction set that looks sums up.
#pragma once

#include "cpu/int_lookup.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

template <bool kOnePassForm, Shortcuts kShortcutsForm>
struct LookupForm {
  static constexpr bool kOnePass = kOnePassForm;
  static constexpr Shortcuts kShortcuts = kShortcutsForm;

  static SPIKECONV_MEMBER int shortcuts(const IntLookup& l) {
    return kShortcuts == Shortcuts::kMany ? l.n_shortcuts : kShortcuts == Shortcuts::kOne ? 1 : 0;
  }
};

// All groups and steps: the instruction set's own.
template <class F>
static void run_lookup(const IntLookup& l);

template <bool kOnePass>
SPIKECONV_INLINE void run_with_shortcuts(const IntLookup& l) {
  if (l.n_shortcuts == 0) {
    run_lookup<LookupForm<kOnePass, Shortcuts::kNone>>(l);
  } else if (l.n_shortcuts == 1) {
    run_lookup<LookupForm<kOnePass, Shortcuts::kOne>>(l);
  } else {
    run_lookup<LookupForm<kOnePass, Shortcuts::kMany>>(l);
  }
}

static void run_lookups(const IntLookup& l) {
  if (l.passes == 1) {
    run_with_shortcuts<true>(l);
  } else {
    run_with_shortcuts<false>(l);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
