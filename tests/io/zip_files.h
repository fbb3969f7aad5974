// Builds small zip archives, sound and broken ones, for the tests of readers.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>
#include <vector>

#include "monarch/io/zip_format.h"

namespace monarch::io {

struct ZipPart {
  std::string name;
  std::string content;
  bool deflate = false;
  std::uint64_t claimed_size = 0;  // in the headers instead of the true one; 0: the true one
};

template <typename T>
void append_number(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

inline std::string raw_deflate(std::string_view content) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zip_file(const std::vector<ZipPart>& parts) {
  std::string out, directory;
  for (const ZipPart& part : parts) {
    const std::string stored = part.deflate ? raw_deflate(part.content) : part.content;
    const auto crc = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(part.content.data()), uInt(part.content.size())));
    const auto size =
        std::uint32_t(part.claimed_size != 0 ? part.claimed_size : part.content.size());
    std::string common;  // what both headers hold
    append_number(common, zip::kFlagUtf8);
    append_number(common, part.deflate ? zip::kDeflated : zip::kStored);
    append_number(common, std::uint32_t{0});
    append_number(common, crc);
    append_number(common, part.deflate ? std::uint32_t(stored.size()) : size);
    append_number(common, size);
    append_number(common, std::uint16_t(part.name.size()));
    append_number(common, std::uint16_t{0});
    append_number(directory, zip::kDirectoryEntry);
    append_number(directory, std::uint32_t{0});
    directory += common;
    directory.append(10, '\0');
    append_number(directory, std::uint32_t(out.size()));
    directory += part.name;
    append_number(out, zip::kLocalHeader);
    append_number(out, std::uint16_t{20});
    out.append(common).append(part.name).append(stored);
  }
  const std::size_t begin = out.size();
  out += directory;
  append_number(out, zip::kEnd);
  append_number(out, std::uint32_t{0});
  append_number(out, std::uint16_t(parts.size()));
  append_number(out, std::uint16_t(parts.size()));
  append_number(out, std::uint32_t(directory.size()));
  append_number(out, std::uint32_t(begin));
  append_number(out, std::uint16_t{0});
  return out;
}

}  // namespace monarch::io
