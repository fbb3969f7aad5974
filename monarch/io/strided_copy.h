// Strided views over flat storages, from files: checked, and copied into row-major order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace monarch::io {

// Strides and offset are in elements.
struct StridedView {
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::int64_t offset = 0;
};

// Throws kCorrupt, beginning with `place`, unless every element lies within `storage_elements` and
// the element count fits in 64 bits; negative numbers are refused.
void check_strided_view(const StridedView& view, std::int64_t storage_elements,
                        const std::string& place);

// The following expect a checked view.
std::int64_t num_view_elements(const StridedView& view);
bool is_contiguous(const StridedView& view);
std::vector<std::byte> copy_strided(const StridedView& view, std::span<const std::byte> storage,
                                    std::size_t element_size);

}  // namespace monarch::io
