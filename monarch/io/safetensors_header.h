// The JSON header of a safetensors file, parsed strictly and without building a document.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/base/dtype.h"

namespace monarch::io {

struct HeaderTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the end of the header
  std::uint64_t end = 0;    // end - begin agrees with dtype and shape
};

struct SafetensorsHeader {
  std::vector<HeaderTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Throws kCorrupt or kUnsupported, naming `where` and the tensor.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& where);

}  // namespace monarch::io
