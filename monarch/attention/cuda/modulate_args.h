// What the kernels of modulate.h are launched with.
#pragma once

#include <cstdint>

namespace monarch::attention::cuda {

enum class ModulateKind { kNorm, kGatedAdd, kGelu };

// [B, N, C] in 16-bit elements; strides in elements, 0 along what is the same for all.
template <typename T>
struct Rows {
  T* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;
};

struct ModulateArgs {
  ModulateKind kind = ModulateKind::kGelu;
  Rows<const std::uint16_t> x;
  Rows<const std::uint16_t> y;      // of the gated add
  Rows<const std::uint16_t> scale;  // or gate: a row for every run of tokens
  Rows<const std::uint16_t> shift;
  Rows<std::uint16_t> out;
  int batch = 1;
  int tokens = 0;
  int channels = 0;
  int run_tokens = 1;
  float eps = 0;
  std::int64_t num_blocks = 0;
};

}  // namespace monarch::attention::cuda
