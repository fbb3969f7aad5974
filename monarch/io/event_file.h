// TensorBoard's event files: records (length, its checksum, bytes, their checksum) of Event
// messages in protocol-buffer form, of which scalars need four fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace monarch::io {

// CRC-32C (Castagnoli) of the bytes.
std::uint32_t crc32c(std::string_view bytes);

// Writes one file "events.out.tfevents.<seconds>.<process>" in a folder; a new run, or a resumed
// one, starts a new file, and TensorBoard shows those of a folder as one.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& folder);

  // Scalars of one step, at this moment. Throws kIo if the disk is full.
  void write(std::int64_t step, std::span<const std::pair<std::string, double>> scalars);

  const std::filesystem::path& path() const { return path_; }

 private:
  void record(std::string_view event);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace monarch::io
