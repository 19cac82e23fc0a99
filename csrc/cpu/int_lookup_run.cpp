#include "cpu/int_lookup_run.h"

#include <c10/util/SmallVector.h>

#include <algorithm>

namespace spikeconv::cpu {

LookupRun::LookupRun(const IntLookupKernels& kernels, const IntLayer& layer,
                     const IntLookupLayer& lookup, const std::vector<IntWordPlane>& read,
                     const IntWordPlane& out, int64_t steps)
    : kernels_(kernels), layer_(layer), lookup_(lookup), read_(read), out_(out), steps_(steps) {
  for (size_t i = 0; i < lookup.windows.size(); ++i) {
    const IntLookupWindow& window = lookup.windows[i];
    const at::Tensor& tables = window.tables[0];
    const int64_t parts = tables.size(2), part_bytes = tables.stride(2);
    std::vector<IntLookupTap>& taps = taps_.emplace_back();
    for (size_t tap = 0; tap < window.taps.size(); ++tap) {
      const IntLookupWindow::Tap& from = window.taps[tap];
      for (int64_t part = 0; part < parts; ++part) {
        taps.push_back({read_[i].place(from.y, from.x) + part * read_[i].part,
                        (from.table * parts + part) * part_bytes, static_cast<int64_t>(tap)});
      }
    }
  }
}

void LookupRun::run(int64_t first, int64_t last) const {
  const int64_t groups = lookup_.groups;
  while (first < last) {
    const int64_t block = first / groups, group = first % groups;
    const int64_t end = std::min(groups, group + last - first);
    run_block(block, group, end);
    first += end - group;
  }
}

void LookupRun::run_block(int64_t block, int64_t first, int64_t last) const {
  const int64_t position = first * kPositions;
  IntLookup lookup{};
  c10::SmallVector<IntLookupTerm, 4> terms;
  for (int byte = lookup_.passes - 1; byte >= 0; --byte) {
    for (size_t i = 0; i < lookup_.windows.size(); ++i) {
      if (byte < static_cast<int>(lookup_.windows[i].tables.size())) {
        terms.push_back(term_of(i, byte, block, first));
      }
    }
    lookup.end[lookup.passes++] = static_cast<int>(terms.size());
  }
  c10::SmallVector<IntLookupShortcut, 2> shortcuts;
  for (size_t i = 0; i < lookup_.jumps.size(); ++i) {
    shortcuts.push_back(shortcut_of(i, block, position));
  }
  const int64_t channel = block * kLanes;
  lookup.terms = terms.data();
  lookup.shortcuts = shortcuts.data();
  lookup.n_shortcuts = static_cast<int>(shortcuts.size());
  lookup.groups = static_cast<int>(last - first);
  lookup.steps = static_cast<int>(steps_);
  lookup.shift = layer_.shift;
  lookup.theta = layer_.theta.const_data_ptr<int32_t>() + channel;
  lookup.v_init = layer_.v_init.const_data_ptr<int32_t>() + channel;
  lookup.bias = layer_.bias.const_data_ptr<int32_t>() + channel;
  lookup.bias_step = layer_.bias.stride(0);
  lookup.last_bias = static_cast<int>(std::min(layer_.bias.size(0), steps_) - 1);
  lookup.out = out_.data + block * out_.part + position;
  lookup.out_step = out_.step;
  kernels_.run(lookup);
}

IntLookupTerm LookupRun::term_of(size_t i, int byte, int64_t block, int64_t group) const {
  const IntLookupWindow& window = lookup_.windows[i];
  const at::Tensor& tables = window.tables[byte];
  const auto n_edges = static_cast<int64_t>(window.taps.size());
  return {read_[i].data + group * kPositions,
          read_[i].step,
          taps_[i].data(),
          static_cast<int64_t>(taps_[i].size()),
          window.edges.data() + group * n_edges,
          n_edges,
          reinterpret_cast<const uint16_t*>(window.inside.const_data_ptr<int16_t>()),
          tables.const_data_ptr<uint8_t>() + block * tables.stride(0)};
}

IntLookupShortcut LookupRun::shortcut_of(size_t jump, int64_t block, int64_t position) const {
  const IntLookupJump& from = lookup_.jumps[jump];
  const IntWordPlane& plane = read_[lookup_.windows.size() + jump];
  IntLookupShortcut shortcut{};
  shortcut.step = plane.step;
  shortcut.coefficient = from.coefficient.const_data_ptr<int32_t>() + block * kLanes;
  for (int64_t c = 0; c < kLanes; ++c) {
    // Beyond the source's channels coefficients are 0.
    const int64_t channel =
        std::clamp<int64_t>(block * kLanes + c - from.channel, 0, from.channels - 1);
    shortcut.words[c] = plane.data + channel / kLanes * plane.part + position;
    shortcut.bit[c] = 1 << channel % kLanes;
    shortcut.high_bit[c] = static_cast<int32_t>(0x10000u << channel % kLanes);
  }
  return shortcut;
}

}  // namespace spikeconv::cpu
