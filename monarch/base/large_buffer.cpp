#include "monarch/base/large_buffer.h"

#include <cstdlib>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace monarch {

LargeBuffer::LargeBuffer(std::size_t bytes) : bytes_(bytes) {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kLargePage = std::size_t{2} << 20;
  // Whole large pages, so that the advice below concerns no one else's memory.
  const std::size_t alignment = bytes < kLargePage ? kLine : kLargePage;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (bytes == 0) return;
  if (rounded >= bytes) data_ = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == kLargePage) (void)madvise(data_, rounded, MADV_HUGEPAGE);
#endif
}

LargeBuffer::~LargeBuffer() { std::free(data_); }

LargeBuffer::LargeBuffer(LargeBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

LargeBuffer& LargeBuffer::operator=(LargeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace monarch
