#include "apps/evaluate/shapes_video.h"

#include <vector>

#include "apps/command.h"
#include "monarch/pipelines/generate.h"

namespace monarch::apps {
namespace {

class FrameCollector : public pipelines::FrameSink {
 public:
  bool write(const at::Tensor& frames, std::int64_t /*first_frame*/) override {
    pieces_.push_back(pipelines::to_rgb8(frames)[0]);
    return true;
  }
  at::Tensor frames() const { return at::cat(pieces_).contiguous(); }

 private:
  std::vector<at::Tensor> pieces_;
};

}  // namespace

ShapesVideo make_shapes_video(pipelines::WanSystem& system,
                              const pipelines::GenerationOptions& options,
                              const std::string& caption, std::uint64_t seed) {
  FrameCollector collector;
  pipelines::RunControl control;
  control.cancelled = [] { return interrupted(); };
  const pipelines::GenerationResult result = pipelines::generate_video(
      system, options, {.prompt = caption, .seed = seed}, &collector, control);
  return {collector.frames(), result.text_seconds + result.denoise_seconds + result.decode_seconds};
}

}  // namespace monarch::apps
