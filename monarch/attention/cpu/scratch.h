// Cutting a thread's scratch into pieces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "monarch/attention/cpu/simd.h"

namespace monarch::attention::cpu::MONARCH_ISA {

// Hands out pieces of floats, each on a cache line. With a null base the pieces are null and only
// used() means anything: the same code sizes a scratch and cuts it.
class ScratchCutter {
 public:
  MONARCH_INLINE explicit ScratchCutter(float* base) : base_(base) {}
  MONARCH_INLINE float* operator()(std::int64_t count) {
    float* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += static_cast<std::size_t>((count + 15) / 16 * 16);
    return piece;
  }
  MONARCH_INLINE std::size_t used() const { return used_; }

 private:
  float* base_;
  std::size_t used_ = 0;
};

}  // namespace monarch::attention::cpu::MONARCH_ISA
