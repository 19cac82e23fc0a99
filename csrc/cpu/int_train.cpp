#include "cpu/int_train.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

namespace spikeconv::cpu {
namespace {

// Rows of an image, of all images and steps, worth a thread of their own.
constexpr int64_t kGrainBytes = 1 << 15;

// Calls row(t, b, y) for every row of the train, in parallel.
template <class Row>
void for_each_row(const IntSource& source, int64_t steps, int64_t images, const Row& row) {
  const int64_t rows = images * source.height * steps;
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / (source.width * source.channels));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      row(i % steps, i / steps / source.height, i / steps % source.height);
    }
  });
}

template <class Value, class Byte>
void pack_rows(const IntSource& source, const at::Tensor& train, const IntPlane<uint8_t>& plane,
               const Byte& byte) {
  const Value* data = train.const_data_ptr<Value>();
  const int64_t stride_t = train.stride(0), stride_b = train.stride(1), stride_c = train.stride(2),
                stride_y = train.stride(3), stride_x = train.stride(4);
  const int64_t channels = source.channels, width = source.width;
  for_each_row(source, train.size(0), train.size(1), [&](int64_t t, int64_t b, int64_t y) {
    const Value* from = data + t * stride_t + b * stride_b + y * stride_y;
    uint8_t* to = plane.at(source, b, y, 0) + t * plane.step;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t x = 0; x < width; ++x) {
        to[x * channels + c] = byte(from[c * stride_c + x * stride_x]);
      }
    }
  });
}

}  // namespace

void pack_train(const IntSource& source, const at::Tensor& train, const IntPlane<uint8_t>& plane) {
  const uint8_t zero = source.zero();
  const auto sum = [zero](auto value) { return static_cast<uint8_t>(value + zero); };
  switch (train.scalar_type()) {
    case at::kByte:
      return pack_rows<uint8_t>(source, train, plane, sum);
    case at::kChar:
      return pack_rows<int8_t>(source, train, plane, sum);
    case at::kFloat:
      return pack_rows<float>(source, train, plane, [zero](float value) {
        return static_cast<uint8_t>(zero + (value > 0) - (value < 0));
      });
    default:
      TORCH_CHECK(false, "_IntegerProgram.pack: train must be float32, uint8 or int8, got ",
                  train.scalar_type());
  }
}

void unpack_train(const IntSource& source, const IntPlane<const uint8_t>& plane,
                  const at::Tensor& train) {
  int8_t* data = train.mutable_data_ptr<int8_t>();
  const int64_t images = train.size(1);
  const int64_t channels = source.channels, width = source.width;
  const uint8_t zero = source.zero();
  for_each_row(source, train.size(0), images, [&](int64_t t, int64_t b, int64_t y) {
    const uint8_t* from = plane.at(source, b, y, 0) + t * plane.step;
    int8_t* to = data + ((t * images + b) * channels * source.height + y) * width;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t x = 0; x < width; ++x) {
        to[c * source.height * width + x] = static_cast<int8_t>(from[x * channels + c] - zero);
      }
    }
  });
}

}  // namespace spikeconv::cpu
