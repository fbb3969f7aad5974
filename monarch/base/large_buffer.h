// Memory for workspaces.
#pragma once

#include <cstddef>
#include <span>

namespace monarch {

// Uninitialised bytes, aligned to a cache line, on large pages where the system has them: kernels
// that walk over tens of megabytes again and again otherwise wait for the processor's address
// translation (measured: a fifth of Monarch attention's forward). Pages are taken when first
// written. Throws std::bad_alloc.
class LargeBuffer {
 public:
  explicit LargeBuffer(std::size_t bytes);
  ~LargeBuffer();
  LargeBuffer(LargeBuffer&& other) noexcept;
  LargeBuffer& operator=(LargeBuffer&& other) noexcept;

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  std::span<std::byte> span() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace monarch
