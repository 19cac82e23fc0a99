// Consecutive layers, pools and encoders of a program, run image by image: what passes between them
// stays in a core's cache, and needs memory for a few images only, however large the batch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/int_encoder.h"
#include "cpu/int_layer.h"
#include "cpu/int_lookup_layer.h"
#include "cpu/int_pool.h"
#include "cpu/int_tile.h"
#include "cpu/int_words.h"

namespace spikeconv::cpu {

struct IntStep {
  // The first three may be asked for. kLookUp is a layer too and kEncode an encoder, whose spikes
  // are words; the others convert spikes, or count those of a layer.
  enum class Kind {
    kLayer,
    kPool,
    kEncoder,
    kLookUp,
    kEncode,
    kToWords,
    kArrange,
    kToBytes,
    kCount
  };
  Kind kind;
  int64_t index;  // of the layer, pool or encoder, or of the source
  int64_t asked;  // its place among the steps that were asked for, or that of the step it serves
  std::vector<int64_t> words_read{};  // IntPlan's
  int64_t words_written = -1;
};

// What a program consists of.
struct IntParts {
  IntKernels kernels;
  std::vector<IntSource> sources;
  std::vector<IntLayer> layers;
  std::vector<std::optional<IntLookupLayer>> lookups;  // of each layer
  std::vector<IntPool> pools;
  std::vector<IntEncoder> encoders;
};

// Sources whose bytes a step reads, and the one whose bytes it writes; -1 for none.
std::vector<int64_t> reads(const IntParts& parts, const IntStep& step);
int64_t writes(const IntParts& parts, const IntStep& step);

// Memory for one plane after another. Planes of one format keep their borders from image to image;
// where formats take turns, borders are written again at each turn.
struct IntSlot {
  std::vector<int64_t> sources;  // in the order in which they lie there

  // Bytes of the largest plane, with one image.
  int64_t plane_bytes(const std::vector<IntSource>& all, int64_t steps) const;
};

// The same for planes of words, by their number.
struct IntWordSlot {
  std::vector<int64_t> planes;
};

// How a chain is run, and where the planes of its sources lie: with all images, handed in, or one
// image at a time in a slot.
struct IntPlan {
  std::vector<IntStep> steps;
  std::vector<IntSlot> slots;
  std::vector<char> borders;  // by source, whether its borders are to be written for each image
  std::vector<IntWordForm> words;
  std::vector<IntWordSlot> word_slots;

  // Whether all that passes between its steps is handed in.
  bool is_handed_in() const { return slots.empty() && word_slots.empty(); }
};

struct IntChain {
  std::vector<IntStep> steps;   // as asked for
  std::vector<int64_t> given;   // sources that are read and no step writes
  std::vector<int64_t> wanted;  // sources that are written for others
  std::vector<char> counts;     // by step, whether its count is wanted
  IntPlan plain;                // in bytes alone, which has states before and after the steps
  IntPlan hidden;               // where nobody gives or wants those: looks up what it can
};

IntChain make_int_chain(const IntParts& parts, std::vector<IntStep> steps,
                        std::vector<int64_t> wanted, std::vector<char> counts);

}  // namespace spikeconv::cpu
