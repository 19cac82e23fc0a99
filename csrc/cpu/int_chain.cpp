#include "cpu/int_chain.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace spikeconv::cpu {
namespace {

bool same_format(const IntSource& a, const IntSource& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width &&
         a.above == b.above && a.left == b.left && a.below == b.below && a.right == b.right &&
         a.zero() == b.zero();
}

}  // namespace

std::vector<int64_t> reads(const IntParts& parts, const IntStep& step) {
  std::vector<int64_t> sources;
  if (step.kind == IntStep::Kind::kPool) {
    sources.push_back(parts.pools[step.index].source);
  } else if (step.kind == IntStep::Kind::kLayer) {
    for (const IntConvolution& convolution : parts.layers[step.index].convolutions) {
      sources.push_back(convolution.window.source);
    }
    for (const IntShortcutTerm& shortcut : parts.layers[step.index].shortcuts) {
      sources.push_back(shortcut.source);
    }
  }
  return sources;
}

int64_t writes(const IntParts& parts, const IntStep& step) {
  switch (step.kind) {
    case IntStep::Kind::kLayer:
      return parts.layers[step.index].out;
    case IntStep::Kind::kPool:
      return parts.pools[step.index].out;
    default:
      return parts.encoders[step.index].out;
  }
}

IntChain make_int_chain(const IntParts& parts, std::vector<IntStep> steps,
                        std::vector<int64_t> wanted, std::vector<char> counts) {
  const auto n_sources = static_cast<int64_t>(parts.sources.size());
  IntChain chain{std::move(steps), {}, std::move(wanted), std::move(counts), {}, {}};
  constexpr int64_t kNever = -1;
  std::vector<int64_t> written(n_sources, kNever), last_read(n_sources, kNever);
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    for (const int64_t source : reads(parts, chain.steps[i])) {
      if (written[source] == kNever && last_read[source] == kNever) {
        chain.given.push_back(source);
      }
      last_read[source] = static_cast<int64_t>(i);
    }
    const int64_t out = writes(parts, chain.steps[i]);
    if (out >= 0) {
      TORCH_CHECK(written[out] == kNever && last_read[out] == kNever,
                  "_IntegerProgram.add_chain: source ", out,
                  " must be written once, and not be read before");
      written[out] = static_cast<int64_t>(i);
    }
  }
  std::vector<char> handed_in(n_sources, 0);
  for (const int64_t source : chain.wanted) {
    TORCH_CHECK(written[source] != kNever, "_IntegerProgram.add_chain: source ", source,
                " is wanted, but no step writes it");
    TORCH_CHECK(handed_in[source] == 0, "_IntegerProgram.add_chain: source ", source,
                " is wanted twice");
    handed_in[source] = 1;
  }
  chain.slots.assign(n_sources, -1);
  std::vector<int64_t> free;
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    const int64_t out = writes(parts, chain.steps[i]);
    if (out >= 0 && handed_in[out] == 0 && last_read[out] != kNever) {
      const auto fits = std::find_if(free.begin(), free.end(), [&](int64_t slot) {
        return same_format(parts.sources[chain.formats[slot]], parts.sources[out]);
      });
      if (fits != free.end()) {
        chain.slots[out] = *fits;
        free.erase(fits);
      } else {
        chain.slots[out] = static_cast<int64_t>(chain.formats.size());
        chain.formats.push_back(out);
      }
    }
    for (int64_t source = 0; source < n_sources; ++source) {
      if (last_read[source] == static_cast<int64_t>(i) && chain.slots[source] >= 0) {
        free.push_back(chain.slots[source]);
      }
    }
  }
  return chain;
}

}  // namespace spikeconv::cpu
