#include "apps/compare/video_judge.h"

#include <cmath>
#include <limits>

#include "monarch/evaluation/quality.h"
#include "monarch/ops/attention.h"
#include "monarch/pipelines/frame_sink.h"

namespace monarch::apps {

at::Tensor VideoJudge::video(std::size_t prompt, const evaluation::LayerAttention& attention,
                             std::int64_t dense_steps) {
  return model_.video(prompts_[prompt].text, seed_ + prompt, attention, dense_steps);
}

const at::Tensor& VideoJudge::dense_video(std::size_t prompt) {
  dense_videos_.resize(prompts_.size());
  at::Tensor& frames = dense_videos_[prompt];
  if (!frames.defined()) {
    frames = video(prompt, [](std::size_t, const models::Qkv& qkv) {
      return ops::dense_attention(qkv.q, qkv.k, qkv.v);
    });
  }
  return frames;
}

void VideoJudge::add(Quality& quality, std::size_t prompt, const at::Tensor& frames) {
  const auto count = static_cast<double>(prompts_.size());
  quality.psnr += evaluation::psnr(frames, dense_video(prompt)) / count;
  quality.ssim += evaluation::ssim(frames, dense_video(prompt)) / count;
  if (prompts_[prompt].claims.empty()) return;
  const at::Tensor bytes = pipelines::to_rgb8(frames.transpose(0, 1).unsqueeze(0))[0].contiguous();
  for (const auto& score : evaluation::score_claims(prompts_[prompt].claims, analyse_frames(bytes)))
    quality.tally.add(score);
}

VideoJudge::Quality VideoJudge::quality(const evaluation::LayerAttention& attention) {
  Quality quality;
  for (std::size_t i = 0; i < prompts_.size(); ++i) add(quality, i, video(i, attention));
  return quality;
}

VideoJudge::Quality VideoJudge::dense_quality() {
  Quality quality;
  for (std::size_t i = 0; i < prompts_.size(); ++i) add(quality, i, dense_video(i));
  return quality;
}

double VideoJudge::lowest_psnr(const evaluation::LayerAttention& attention,
                               std::int64_t dense_steps, double at_least, std::int64_t& videos) {
  double lowest = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < prompts_.size() && lowest >= at_least; ++i) {
    lowest = std::min(lowest, evaluation::psnr(video(i, attention, dense_steps), dense_video(i)));
    ++videos;
  }
  return lowest;
}

Json quality_json(const std::string& family, const std::string& name, double sparsity,
                  const VideoJudge::Quality& quality) {
  Json json{{"family", family},
            {"name", name},
            {"sparsity", sparsity},
            {"ssim", quality.ssim},
            {"psnr", std::isfinite(quality.psnr) ? Json(quality.psnr) : Json()}};
  const evaluation::ShapesTally& tally = quality.tally;
  if (tally.shapes > 0) {
    json["color_percent"] = tally.percent(tally.color);
    json["shape_percent"] = tally.percent(tally.kind);
    json["motion_percent"] = tally.percent(tally.motion);
  }
  return json;
}

evaluation::MethodResult as_result(const evaluation::AttentionMethod& method, double sparsity,
                                   const VideoJudge::Quality& quality) {
  return {.family = method.family,
          .name = method.name,
          .settings = method.settings,
          .errors = {.output = std::pow(10, -quality.psnr / 20),
                     .sparsity = sparsity,
                     .first_frame = std::numeric_limits<double>::quiet_NaN()}};
}

}  // namespace monarch::apps
