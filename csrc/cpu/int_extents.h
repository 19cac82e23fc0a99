// How many there are of what the integer program's kernels take together.
#pragma once

namespace spikeconv::cpu {

constexpr int kPixels = 4;
constexpr int kLanes = 16;  // output channels of a block
constexpr int kBlocks = 4;  // blocks of a tile at most
constexpr int kPair = 2;    // of them, whose sums are made together; all where they are products
constexpr int kTileSteps = 16;  // steps of a tile at most
constexpr int kTileValues = kTileSteps * kPixels * kBlocks * kLanes;
constexpr int kMostBytes = 3;  // of a weight

}  // namespace spikeconv::cpu
