// A whole file mapped into memory, read only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace monarch::io {

// The bytes stay valid as long as the object lives; pages are read on first use and can be dropped
// by the system again, so a mapped checkpoint costs address space, not memory. Writing through a
// pointer into the mapping faults. Throws Error: kNotFound (no such file), kIo (a folder, no
// permission).
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace monarch::io
