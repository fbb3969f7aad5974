#include "monarch/io/strided_copy.h"

#include <cstring>

#include "monarch/base/error.h"

namespace monarch::io {
namespace {

constexpr std::size_t kMaxRank = 64;  // LibTorch's own limit

}  // namespace

void check_strided_view(const StridedView& view, std::int64_t storage_elements,
                        const std::string& place) {
  const auto check = [&](bool good) {
    MONARCH_CHECK_CODE(good, kCorrupt, "[monarch_io] ", place, ": size ", shape_string(view.shape),
                       ", strides ", shape_string(view.strides), " and offset ", view.offset,
                       " leave its storage of ", storage_elements, " elements");
  };
  check(view.offset >= 0 && view.offset <= storage_elements && view.shape.size() <= kMaxRank);
  bool empty = false;
  std::int64_t last = view.offset;  // index of the last element
  std::int64_t bound = 8;           // bytes of the shape with zeros counted as ones
  for (std::size_t axis = 0; axis < view.shape.size(); ++axis) {
    const std::int64_t extent = view.shape[axis], stride = view.strides[axis];
    check(extent >= 0 && stride >= 0);
    empty |= extent == 0;
    check(extent == 0 || !__builtin_mul_overflow(bound, extent, &bound));
    std::int64_t reach = 0;
    if (extent > 1) check(!__builtin_mul_overflow(extent - 1, stride, &reach));
    check(!__builtin_add_overflow(last, reach, &last));
  }
  check(empty || last < storage_elements);
}

std::int64_t num_view_elements(const StridedView& view) {
  std::int64_t total = 1;
  for (const std::int64_t extent : view.shape) total *= extent;
  return total;
}

bool is_contiguous(const StridedView& view) {
  std::int64_t expected = 1;
  for (std::size_t axis = view.shape.size(); axis-- > 0;) {
    if (view.shape[axis] != 1 && view.strides[axis] != expected) return false;
    expected *= view.shape[axis];
  }
  return true;
}

std::vector<std::byte> copy_strided(const StridedView& view, std::span<const std::byte> storage,
                                    std::size_t element_size) {
  const std::int64_t total = num_view_elements(view);
  std::vector<std::byte> out(static_cast<std::size_t>(total) * element_size);
  std::vector<std::int64_t> index(view.shape.size(), 0);
  std::int64_t source = view.offset;
  for (std::int64_t i = 0; i < total; ++i) {
    std::memcpy(out.data() + static_cast<std::size_t>(i) * element_size,
                storage.data() + static_cast<std::size_t>(source) * element_size, element_size);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      source += view.strides[axis];
      if (++index[axis] < view.shape[axis]) break;
      source -= view.strides[axis] * view.shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

}  // namespace monarch::io
