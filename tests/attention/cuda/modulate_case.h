// Tokens and the modulations of runs of them, for the kernels of a layer's elementwise parts.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {

struct ModulateCase {
  std::int64_t batch = 1;
  std::int64_t tokens = 1;
  std::int64_t channels = 8;
  std::int64_t runs = 1;
  std::int64_t modulated_batches = 1;
  DType dtype = DType::kBF16;
  Padding padding = {};  // after a token: `head` is not used

  std::vector<std::int64_t> shape() const { return {batch, tokens, channels}; }
  std::vector<std::int64_t> modulation_shape() const { return {modulated_batches, runs, channels}; }
  std::int64_t rows() const { return batch * tokens; }
  Tensor modulation(std::uint32_t seed) const {
    return random_tensor(modulation_shape(), dtype, seed);
  }
  // Index of the modulation of a token.
  std::int64_t run(std::int64_t row) const {
    const std::int64_t first = modulated_batches == 1 ? 0 : row / tokens * runs;
    return first + row % tokens / (tokens / runs);
  }
  // Filled with what no result may keep.
  Tensor result(const std::vector<std::int64_t>& of, Padding gap = {}) const {
    Tensor tensor(of, dtype, gap);
    tensor.fill(std::nan(""));
    return tensor;
  }
};

}  // namespace monarch::attention::test
