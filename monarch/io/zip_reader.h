// Reads zip archives in memory, as torch.save writes them: stored entries as views, deflated ones
// inflated within a budget, zip64. Format: PKWARE APPNOTE 6.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace monarch::io {

struct ZipEntry {
  std::string name;
  bool deflated = false;
  std::uint32_t crc = 0;
  std::uint64_t size = 0;            // after inflating
  std::span<const std::byte> bytes;  // as stored in the archive
};

// Throws kCorrupt for anything inconsistent (directory, local headers, duplicate names, overlapping
// entries, sizes), kUnsupported for encryption and other compression methods. Inflating all
// deflated entries may take 64 MB plus 16 times the archive's size; archives that claim more are
// refused before anything is inflated.
class ZipReader {
 public:
  // `bytes` must outlive the reader.
  ZipReader(std::span<const std::byte> bytes, std::string where);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const;
  // The content of a deflated entry, its length and checksum checked.
  std::vector<std::byte> inflate(const ZipEntry& entry) const;
  // Throws kCorrupt if a stored entry does not have its checksum; reads all of it.
  void check_stored(const ZipEntry& entry) const;

 private:
  std::string where_;
  std::vector<ZipEntry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

}  // namespace monarch::io
