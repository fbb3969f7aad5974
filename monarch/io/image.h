// Still images as rows of RGB bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace monarch::io {

struct Image {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3], top row first
};

// Any format that FFmpeg decodes (PNG, JPEG, WebP, ...); of a video, the first frame. Throws
// kNotFound, kCorrupt (not an image, or larger than 16384 pixels a side), kUnsupported when built
// without FFmpeg.
Image read_image(const std::filesystem::path& path);

// Needs no FFmpeg. Same guarantees as write_safetensors: nothing half-written under the final name.
void write_png(const std::filesystem::path& path, const Image& image);
void write_png(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
               std::span<const std::uint8_t> rgb);

// The bytes of a file of few colours: `indices` [height, width] into `palette`, RGB triples, at
// most 256 of them.
std::string encode_palette_png(std::int64_t width, std::int64_t height,
                               std::span<const std::uint8_t> palette,
                               std::span<const std::uint8_t> indices);

}  // namespace monarch::io
