// Memory of a thread that is kept from call to call.
#pragma once

#include <cstddef>
#include <memory>

namespace spikeconv::cpu {

// Room for values. What none is written to is never touched, so it begins large enough for most
// layers: what was outgrown would stay with the allocator.
template <class Value, size_t kLeast>
class IntRoom {
 public:
  void grow(size_t size) {
    if (size_ < size) {
      values_.reset();
      size_ = 0;  // also where there is no memory for more
      values_.reset(new Value[size < kLeast ? kLeast : size]);
      size_ = size < kLeast ? kLeast : size;
    }
  }
  Value* data() const { return values_.get(); }

 private:
  std::unique_ptr<Value[]> values_;
  size_t size_ = 0;
};

}  // namespace spikeconv::cpu
