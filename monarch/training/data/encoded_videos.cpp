#include "monarch/training/data/encoded_videos.h"

#include <algorithm>
#include <array>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/prompts.h"
#include "monarch/pipelines/read_frames.h"
#include "monarch/training/data/shapes_dataset.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

constexpr std::array kVideos = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif"};
constexpr std::array kImages = {".png", ".jpg", ".jpeg", ".webp"};

bool has_kind(const fs::path& file, bool image) {
  const std::string extension = file.extension().string();
  return image ? std::ranges::find(kImages, extension) != kImages.end()
               : std::ranges::find(kVideos, extension) != kVideos.end();
}

std::string prompt_of(const fs::path& file) {
  fs::path text = file;
  text.replace_extension(".txt");
  MONARCH_CHECK_CODE(fs::exists(text), kNotFound, "[monarch_training] ", file.string(),
                     " has no prompt; write it into ", text.filename().string(), " beside it");
  const std::vector<std::string> lines = io::read_prompts(text);
  MONARCH_CHECK_CODE(!lines.empty() && !lines.front().empty(), kCorrupt, "[monarch_training] ",
                     text.string(), " is empty; its first line is the prompt");
  return lines.front();
}

at::Tensor read_clip(const fs::path& file, const VideoSize& size) {
  const at::Tensor pixels = pipelines::read_frames(file, size.width, size.height, size.frames);
  MONARCH_CHECK(pixels.size(2) == size.frames, "[monarch_training] ", file.string(), " has ",
                pixels.size(2), " frames, ", size.frames,
                " are wanted; remove it, or ask for fewer frames");
  return pixels;
}

}  // namespace

std::vector<Clip> clips_of_folder(const fs::path& folder, const VideoSize& size) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && has_kind(entry.path(), size.frames == 1))
      files.push_back(entry.path());
  }
  std::ranges::sort(files);
  MONARCH_CHECK_CODE(!files.empty(), kNotFound, "[monarch_training] ", folder.string(), " has no ",
                     size.frames == 1 ? "images (.png, .jpg, .webp)" : "videos (.mp4, .webm, ...)");
  std::vector<Clip> clips;
  for (const fs::path& file : files)
    clips.push_back({prompt_of(file), [file, size] { return read_clip(file, size); }});
  return clips;
}

std::vector<Clip> clips_of_shapes(int64_t count, std::uint64_t seed, const VideoSize& size) {
  const ShapesDataset data({.width = static_cast<int>(size.width),
                            .height = static_cast<int>(size.height),
                            .frames = static_cast<int>(size.frames)},
                           seed);
  std::vector<Clip> clips;
  for (int64_t i = 0; i < count; ++i) {
    const ShapesSample sample = data.sample(static_cast<std::uint64_t>(i));
    clips.push_back(
        {sample.caption, [data, scene = sample.scene] { return data.video(scene).unsqueeze(0); }});
  }
  return clips;
}

EncodedVideos::EncodedVideos(std::vector<Clip> clips, const models::WanVae& vae,
                             at::TensorOptions options, bool keep)
    : clips_(std::move(clips)), vae_(vae), options_(options), keep_(keep) {}

at::Tensor EncodedVideos::latents(int64_t index) const {
  const auto found = kept_.find(index);
  if (found != kept_.end()) return found->second.to(at::kFloat);
  const at::NoGradGuard no_grad;
  const at::Tensor pixels = clips_.at(static_cast<size_t>(index)).pixels().to(options_);
  const at::Tensor latents = vae_.encode(pixels).squeeze(0).to(at::kCPU, at::kHalf);
  if (keep_) kept_.emplace(index, latents);
  return latents.to(at::kFloat);
}

}  // namespace monarch::training
