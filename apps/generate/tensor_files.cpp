#include "apps/generate/tensor_files.h"

#include <cstring>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/io/image.h"
#include "monarch/io/safetensors.h"
#include "monarch/io/video.h"

namespace monarch::apps {
namespace {

at::Tensor rgb_to_frame(const std::vector<std::uint8_t>& rgb, std::int64_t width,
                        std::int64_t height) {
  return at::from_blob(const_cast<std::uint8_t*>(rgb.data()), {height, width, 3}, at::kByte)
      .to(at::kFloat)
      .permute({2, 0, 1});
}

}  // namespace

void save_tensors(const std::filesystem::path& path,
                  const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) continue;
    kept.push_back(tensor.detach().to(at::kCPU, at::kFloat).contiguous());
    const at::Tensor& stored = kept.back();
    entries.push_back({name,
                       DType::kF32,
                       stored.sizes().vec(),
                       {static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()}});
  }
  io::write_safetensors(path, entries);
}

at::Tensor load_tensor(const std::filesystem::path& path, const std::string& name, bool required) {
  const auto file = io::open_safetensors(path);
  const io::TensorEntry* entry = file->find(name);
  if (entry == nullptr && !required) return {};
  MONARCH_CHECK_CODE(entry != nullptr, kNotFound, "[generate] ", path.string(), " has no tensor '",
                     name, "'");
  MONARCH_CHECK_CODE(entry->dtype == DType::kF32, kUnsupported, "[generate] '", name, "' in ",
                     path.string(), " is ", dtype_name(entry->dtype), "; F32 was expected");
  at::Tensor result = at::empty(entry->shape, at::kFloat);
  std::memcpy(result.data_ptr(), entry->bytes.data(), entry->bytes.size());
  return result;
}

at::Tensor read_frames(const std::filesystem::path& path, std::int64_t width, std::int64_t height,
                       std::int64_t max_frames) {
  std::vector<at::Tensor> frames;
  if (max_frames == 1) {
    const io::Image image = io::read_image(path);
    frames.push_back(rgb_to_frame(image.rgb, image.width, image.height));
  } else {
    const io::Video video = io::read_video(path, max_frames);
    for (const auto& rgb : video.frames)
      frames.push_back(rgb_to_frame(rgb, video.width, video.height));
  }
  MONARCH_CHECK_CODE(!frames.empty(), kCorrupt, "[generate] ", path.string(), " holds no frames");
  at::Tensor pixels = at::stack(frames);  // [T, 3, h, w]
  if (pixels.size(2) != height || pixels.size(3) != width) {
    pixels =
        at::_upsample_bilinear2d_aa(pixels, {height, width}, /*align_corners=*/false).clamp(0, 255);
  }
  return pixels.permute({1, 0, 2, 3}).unsqueeze(0) / 127.5 - 1;
}

}  // namespace monarch::apps
