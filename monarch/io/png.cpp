// PNG encoder: 8-bit RGB, rows predicted from the row above (PNG specification, sections 5, 9, 10).
#include <zlib.h>

#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/image.h"

namespace monarch::io {
namespace {

void append_big_endian(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

void append_chunk(std::string& out, std::string_view type, std::string_view content) {
  append_big_endian(out, static_cast<std::uint32_t>(content.size()));
  const std::size_t begin = out.size();
  out.append(type).append(content);
  const auto* data = reinterpret_cast<const Bytef*>(out.data() + begin);
  append_big_endian(out, static_cast<std::uint32_t>(::crc32_z(0, data, out.size() - begin)));
}

}  // namespace

void write_png(const std::filesystem::path& path, const Image& image) {
  write_png(path, image.width, image.height, image.rgb);
}

void write_png(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
               std::span<const std::uint8_t> rgb) {
  MONARCH_CHECK(width > 0 && height > 0 && width <= INT16_MAX && height <= INT16_MAX &&
                    rgb.size() == static_cast<std::size_t>(width * height * 3),
                "[monarch_io] an image of ", width, "x", height, " needs ", width * height * 3,
                " bytes, but ", rgb.size(), " were given");
  constexpr char kFilterUp = 2;  // each byte minus the one above it
  const auto row_bytes = static_cast<std::size_t>(width * 3);
  std::string rows;
  rows.reserve((row_bytes + 1) * static_cast<std::size_t>(height));
  for (std::size_t row = 0; row < static_cast<std::size_t>(height); ++row) {
    rows += kFilterUp;
    const std::uint8_t* here = rgb.data() + row * row_bytes;
    for (std::size_t i = 0; i < row_bytes; ++i) {
      const unsigned above = row == 0 ? 0U : here[i - row_bytes];
      rows += static_cast<char>(here[i] - above);
    }
  }
  uLongf packed_size = ::compressBound(rows.size());
  std::string packed(packed_size, '\0');
  const int status = ::compress2(reinterpret_cast<Bytef*>(packed.data()), &packed_size,
                                 reinterpret_cast<const Bytef*>(rows.data()), rows.size(), 6);
  MONARCH_CHECK_CODE(status == Z_OK, kOutOfMemory, "[monarch_io] not enough memory to compress ",
                     path.string());
  packed.resize(packed_size);

  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(width));
  append_big_endian(header, static_cast<std::uint32_t>(height));
  header.append({8, 2, 0, 0, 0});  // 8 bits, RGB, deflate, adaptive filters, not interlaced
  std::string out = "\x89PNG\r\n\x1a\n";
  append_chunk(out, "IHDR", header);
  append_chunk(out, "IDAT", packed);
  append_chunk(out, "IEND", "");
  write_file(path, out);
}

}  // namespace monarch::io
