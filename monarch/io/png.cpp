// PNG encoder: 8-bit RGB with rows predicted from the row above, and palettes (PNG specification,
// sections 5, 9, 10).
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

std::string compressed(const std::string& bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::string packed(size, '\0');
  const int status = ::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                                 reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), 6);
  MONARCH_CHECK_CODE(status == Z_OK, kOutOfMemory,
                     "[monarch_io] not enough memory to compress the ", bytes.size(),
                     " bytes of an image");
  packed.resize(size);
  return packed;
}

// `rows`: each a filter type and the row's bytes.
std::string png_file(std::int64_t width, std::int64_t height, char color_type,
                     std::string_view palette, const std::string& rows) {
  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(width));
  append_big_endian(header, static_cast<std::uint32_t>(height));
  header.append({8, color_type, 0, 0, 0});  // 8 bits, deflate, adaptive filters, not interlaced
  std::string out = "\x89PNG\r\n\x1a\n";
  append_chunk(out, "IHDR", header);
  if (!palette.empty()) append_chunk(out, "PLTE", palette);
  append_chunk(out, "IDAT", compressed(rows));
  append_chunk(out, "IEND", "");
  return out;
}

void check_size(std::int64_t width, std::int64_t height, std::int64_t pixel_bytes,
                std::size_t given) {
  MONARCH_CHECK(width > 0 && height > 0 && width <= INT16_MAX && height <= INT16_MAX &&
                    given == static_cast<std::size_t>(width * height * pixel_bytes),
                "[monarch_io] an image of ", width, "x", height, " needs ",
                width * height * pixel_bytes, " bytes, but ", given, " were given");
}

}  // namespace

void write_png(const std::filesystem::path& path, const Image& image) {
  write_png(path, image.width, image.height, image.rgb);
}

void write_png(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
               std::span<const std::uint8_t> rgb) {
  check_size(width, height, 3, rgb.size());
  constexpr char kRgb = 2, kFilterUp = 2;  // each byte minus the one above it
  const auto row_bytes = static_cast<std::size_t>(width * 3);
  std::string rows;
  rows.reserve((row_bytes + 1) * static_cast<std::size_t>(height));
  for (std::size_t row = 0; row < static_cast<std::size_t>(height); ++row) {
    rows += kFilterUp;
    const std::size_t begin = row * row_bytes;
    for (std::size_t i = begin; i < begin + row_bytes; ++i) {
      const unsigned above = row == 0 ? 0U : rgb[i - row_bytes];
      rows += static_cast<char>(rgb[i] - above);
    }
  }
  write_file(path, png_file(width, height, kRgb, "", rows));
}

std::string encode_palette_png(std::int64_t width, std::int64_t height,
                               std::span<const std::uint8_t> palette,
                               std::span<const std::uint8_t> indices) {
  check_size(width, height, 1, indices.size());
  MONARCH_CHECK(!palette.empty() && palette.size() % 3 == 0 && palette.size() <= std::size_t{768},
                "[monarch_io] a palette has 1 to 256 colours of 3 bytes, but ", palette.size(),
                " bytes were given");
  constexpr char kPalette = 3, kNoFilter = 0;
  std::string rows;
  for (std::size_t row = 0; row < static_cast<std::size_t>(height); ++row) {
    rows += kNoFilter;
    for (const std::uint8_t index :
         indices.subspan(row * static_cast<std::size_t>(width), static_cast<std::size_t>(width))) {
      MONARCH_CHECK(3 * std::size_t{index} < palette.size(), "[monarch_io] colour ", int{index},
                    " is not among the palette's ", palette.size() / 3);
      rows += static_cast<char>(index);
    }
  }
  return png_file(width, height, kPalette,
                  {reinterpret_cast<const char*>(palette.data()), palette.size()}, rows);
}

}  // namespace monarch::io
