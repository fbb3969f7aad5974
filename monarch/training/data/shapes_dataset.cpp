#include "monarch/training/data/shapes_dataset.h"

#include <algorithm>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

at::Tensor to_video(std::vector<std::uint8_t>& pixels, int64_t frames, int64_t height,
                    int64_t width) {
  const at::Tensor bytes = at::from_blob(pixels.data(), {frames, height, width, 3}, at::kByte);
  return bytes.permute({3, 0, 1, 2}).to(at::kFloat).mul_(2.0 / 255).sub_(1.0);
}

}  // namespace

ShapesSample ShapesDataset::sample(std::uint64_t index) const {
  ShapesRng rng(mix_seed(seed_, index));
  ShapesSample sample;
  sample.scene = sample_scene(options_, rng);
  sample.caption = caption_scene(sample.scene, rng);
  return sample;
}

at::Tensor ShapesDataset::video(const ShapesScene& scene) const {
  return clip(scene, 0, options_.frames);
}

at::Tensor ShapesDataset::clip(const ShapesScene& scene, int first, int count) const {
  auto pixels =
      render_frames(scene, options_.width, options_.height, options_.frames, first, count);
  return to_video(pixels, count, options_.height, options_.width);
}

ShapesCrop ShapesDataset::crop(const ShapesScene& scene, int size, int frames,
                               ShapesRng& rng) const {
  MONARCH_CHECK(size <= options_.width && size <= options_.height && frames <= options_.frames,
                "[monarch_training] a crop of ", frames, " frames of ", size, "x", size,
                " does not fit into ", options_.frames, " of ", options_.width, "x",
                options_.height);
  // Cut where latents begin (4 frames, 8 pixels): a clip's latents are then those of the video.
  const int first = 4 * rng.index((options_.frames - frames) / 4 + 1);
  const auto& object =
      scene.objects[static_cast<std::size_t>(rng.index(static_cast<int>(scene.objects.size())))];
  // Half of the crop around the shape in the middle of the time shown, so that most crops show some
  // of it.
  const float progress = (static_cast<float>(first) + static_cast<float>(frames) / 2) /
                         static_cast<float>(options_.frames);
  const auto extent = static_cast<float>(size);
  const float x = object.start_x + object.travel_x * progress - extent * rng.uniform(0.1F, 0.9F);
  const float y = object.start_y + object.travel_y * progress - object.bounce_height / 2 -
                  extent * rng.uniform(0.1F, 0.9F);
  const int left = std::clamp(static_cast<int>(x), 0, options_.width - size) / 8 * 8;
  const int top = std::clamp(static_cast<int>(y), 0, options_.height - size) / 8 * 8;
  return {clip(scene, first, frames).slice(2, top, top + size).slice(3, left, left + size),
          kinds(scene, first, frames)
              .slice(1, top / 8, (top + size) / 8)
              .slice(2, left / 8, (left + size) / 8)};
}

at::Tensor ShapesDataset::kinds(const ShapesScene& scene, int first, int frames) const {
  std::vector<at::Tensor> maps;
  for (int last = 0; last < frames; last += 4) {
    const float middle = static_cast<float>(first + last) - (last > 0 ? 1.5F : 0.0F);
    auto cells = covering_kinds(scene, options_.width, options_.height,
                                middle / static_cast<float>(std::max(options_.frames - 1, 1)));
    maps.push_back(at::from_blob(cells.data(), {options_.height / 8, options_.width / 8}, at::kByte)
                       .to(at::kLong));
  }
  return at::stack(maps);
}

}  // namespace monarch::training
