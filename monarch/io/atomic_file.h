// Writes a file so that its final name never shows half of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace monarch::io {

// Bytes go to a temporary name in the same folder; commit() flushes them to the disk and renames.
// Without commit() (an exception, a failed write) the destructor removes the temporary file and the
// final name keeps what it had. Errors (kIo) name the file and what the system said.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // Bytes written so far, without overwrite().
  std::uint64_t position() const { return position_; }
  // Replaces bytes that were written before.
  void overwrite(std::uint64_t position, std::span<const std::byte> bytes);
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int file_ = -1;
  std::uint64_t position_ = 0;
};

// The name that AtomicFile and other writers use until the content is complete: hidden, in the same
// folder, with the same extension. Checks first that the folder exists and that `path` is not a
// folder or device.
std::filesystem::path temporary_name(const std::filesystem::path& path);

// Renames a finished file over its final name after flushing both file and folder to the disk.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& path);

// One call for small files.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace monarch::io
