// LMDB environments with one unnamed database, read and written without liblmdb.
//
// The format is that of LMDB 0.9 on 64-bit little-endian machines: pages; two meta pages, of which
// the one of the later transaction counts; a B+ tree of keys; large values in runs of pages of
// their own. Reading goes through checked offsets, so that a damaged or half-copied file is an
// error and not a crash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/io/atomic_file.h"
#include "monarch/io/mapped_file.h"

namespace monarch::io {

// Read only; safe to use from several threads.
class LmdbFile {
 public:
  // `path`: the file, or the folder whose data.mdb it is. Throws kNotFound, kIo as MappedFile;
  // kCorrupt for anything that is no LMDB file; kUnsupported for one of another machine or version.
  explicit LmdbFile(const std::filesystem::path& path);

  // The value of a key, valid as long as this object. Throws kCorrupt where the way to it is
  // damaged, or the file ends before it.
  std::optional<std::span<const std::byte>> find(std::string_view key) const;
  // The same, kNotFound naming the key.
  std::span<const std::byte> at(std::string_view key) const;
  std::string_view text(std::string_view key) const;

  std::uint64_t num_entries() const { return num_entries_; }
  std::string where() const { return file_.path().string(); }

 private:
  struct Page {
    std::uint64_t number = 0;
    std::span<const std::byte> bytes;
    std::uint16_t flags = 0;
    std::size_t num_nodes = 0;
  };
  struct Node {
    std::string_view key;
    std::uint64_t child = 0;  // branch pages
    std::span<const std::byte> value;
  };

  Page page(std::uint64_t number) const;
  Node node(const Page& page, std::size_t index) const;

  MappedFile file_;
  std::uint64_t page_size_ = 0;
  std::uint64_t root_ = 0;
  std::uint64_t num_entries_ = 0;
};

// Writes a whole environment at once. Values go to the file as they come, keys at the end. The file
// has its final name when finish() returns, and not before.
class LmdbWriter {
 public:
  explicit LmdbWriter(const std::filesystem::path& file);  // "data.mdb"

  // Keys of 1 to 511 bytes, each once, in any order.
  void put(std::string_view key, std::span<const std::byte> value);
  void put(std::string_view key, std::string_view value);
  void finish();

 private:
  struct Entry {
    std::string key;
    std::uint64_t size = 0;
    std::uint64_t page = 0;  // of a large value; 0: `value` has it
    std::string value;
  };

  AtomicFile file_;
  std::vector<Entry> entries_;
  std::uint64_t next_page_ = 2;
};

}  // namespace monarch::io
