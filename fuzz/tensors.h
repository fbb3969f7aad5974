// Reads every byte that a checkpoint hands out, so that the sanitizers see each view.
#pragma once

#include "monarch/io/checkpoint.h"

namespace monarch::fuzz {

inline std::size_t read_all(const io::Checkpoint& checkpoint) {
  std::size_t sum = 0;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    for (const std::byte byte : tensor.bytes) sum += std::to_integer<std::size_t>(byte);
    sum += static_cast<std::size_t>(tensor.num_elements());
  }
  return sum;
}

}  // namespace monarch::fuzz
