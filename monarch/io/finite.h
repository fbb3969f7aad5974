// Whether weights are numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "monarch/io/checkpoint.h"

namespace monarch::io {

// Index of the first infinite or NaN element; nullopt if there is none, and for integers. Reads
// every byte of the tensor once.
std::optional<std::int64_t> first_non_finite(const TensorEntry& tensor);

}  // namespace monarch::io
