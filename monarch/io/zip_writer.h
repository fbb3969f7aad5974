// Writes zip archives as torch.save does: stored entries, data aligned to 64 bytes, zip64 where
// needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/io/atomic_file.h"

namespace monarch::io {

// The caller commits the file after finish().
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file) : file_(file) {}

  // An entry of exactly `size` bytes, passed to append() in any number of pieces until end_entry().
  void begin_entry(std::string_view name, std::uint64_t size);
  void append(std::span<const std::byte> bytes);
  void end_entry();

  void add(std::string_view name, std::string_view content);
  void finish();

 private:
  struct Written {
    std::string name;
    std::uint64_t size, header_offset;
    std::uint32_t crc;
  };

  AtomicFile& file_;
  std::vector<Written> entries_;
  std::uint64_t appended_ = 0;
};

}  // namespace monarch::io
