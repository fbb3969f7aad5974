// Reads little-endian numbers and runs of bytes from untrusted memory; every read is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::io {

class ByteReader {
 public:
  // `where` begins every message: "model.pt: data.pkl".
  ByteReader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }
  const std::string& where() const { return where_; }

  void seek(std::uint64_t position) {
    MONARCH_CHECK_CODE(position <= bytes_.size(), kCorrupt, "[monarch_io] ", where_,
                       ": a position of ", position, " leaves its ", bytes_.size(), " bytes");
    position_ = static_cast<std::size_t>(position);
  }

  std::span<const std::byte> take(std::uint64_t count) {
    MONARCH_CHECK_CODE(count <= remaining(), kCorrupt, "[monarch_io] ", where_,
                       " ends in the middle of a record; the file is truncated or damaged");
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return taken;
  }

  std::string_view text(std::uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  // Up to and without the next line feed, which is skipped.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                remaining());
    const std::size_t end = rest.find('\n');
    MONARCH_CHECK_CODE(end != std::string_view::npos, kCorrupt, "[monarch_io] ", where_,
                       " ends in the middle of a line; the file is truncated or damaged");
    position_ += end + 1;
    return rest.substr(0, end);
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  std::string where_;
};

}  // namespace monarch::io
