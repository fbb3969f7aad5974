#include "monarch/io/event_file.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "monarch/base/error.h"

namespace monarch::io {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}

// Checksums are stored rotated and shifted, so that a checksum of a record with its own checksum
// does not come out the same.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// --- protocol buffers: a field is its number and kind, then a varint, 8, 4 or counted bytes
std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  return bytes + static_cast<char>(value);
}

std::string field(int number, int kind, const std::string& content) {
  return varint(static_cast<std::uint64_t>(number << 3 | kind)) + content;
}
std::string counted(int number, const std::string& content) {
  return field(number, 2, varint(content.size()) + content);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string event(double wall_time, std::int64_t step, const std::string& content) {
  return field(1, 1, raw(wall_time)) + field(2, 0, varint(static_cast<std::uint64_t>(step))) +
         content;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : bytes)
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder)
    : path_(folder /
            str_cat("events.out.tfevents.", static_cast<std::int64_t>(now()), ".", ::getpid())),
      out_(path_, std::ios::binary) {
  record(event(now(), 0, counted(3, "brain.Event:2")));
}

void EventFile::write(std::int64_t step, std::span<const std::pair<std::string, double>> scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += counted(1, counted(1, tag) + field(2, 5, raw(static_cast<float>(value))));
  }
  record(event(now(), step, counted(5, summary)));
}

void EventFile::record(std::string_view event) {
  const std::string length = raw(static_cast<std::uint64_t>(event.size()));
  out_ << length << raw(masked(crc32c(length))) << event << raw(masked(crc32c(event)))
       << std::flush;
  MONARCH_CHECK_CODE(out_.good(), kIo, "[monarch_io] cannot write ", path_.string(),
                     "; is the disk full?");
}

}  // namespace monarch::io
