#include "apps/shapes_captions.h"

namespace monarch::apps {

std::vector<Caption> draw_captions(std::int64_t count, std::uint64_t seed,
                                   const pipelines::GenerationOptions& options) {
  std::vector<Caption> captions;
  for (std::int64_t i = 0; i < count; ++i) {
    const training::ShapesDataset data({.width = static_cast<int>(options.width),
                                        .height = static_cast<int>(options.height),
                                        .frames = static_cast<int>(options.num_frames),
                                        .two_shapes = i < count * 3 / 4 ? 0.0F : 1.0F,
                                        .split = training::ShapesSplit::kHeldOut},
                                       0xe7a1ULL + seed);
    const auto scene = data.sample(static_cast<std::uint64_t>(i)).scene;
    captions.push_back({scene, training::plain_caption(scene)});
  }
  return captions;
}

std::vector<evaluation::ShapeClaim> claims_of(const Caption& caption) {
  std::vector<evaluation::ShapeClaim> claims;
  for (const auto& object : caption.scene.objects)
    claims.push_back({object.color, object.kind, object.motion});
  return claims;
}

evaluation::ShapesAnalysis analyse_frames(const at::Tensor& frames) {
  return evaluation::analyse_shapes(
      {frames.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frames.numel())},
      static_cast<int>(frames.size(0)), static_cast<int>(frames.size(1)),
      static_cast<int>(frames.size(2)));
}

}  // namespace monarch::apps
