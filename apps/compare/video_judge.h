// Videos of a model with other attention, beside those with dense attention from the same noise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/compare/model_runs.h"
#include "apps/shapes_captions.h"
#include "monarch/base/options_reader.h"
#include "monarch/evaluation/comparison.h"
#include "monarch/evaluation/shapes_scores.h"

namespace monarch::apps {

struct ComparedPrompt {
  std::string text;
  std::vector<evaluation::ShapeClaim> claims = {};  // of captions of the shapes world
};

class VideoJudge {
 public:
  // Prompt i starts from the noise of seed + i. The model must outlive the judge.
  VideoJudge(ComparedModel& model, std::vector<ComparedPrompt> prompts, std::uint64_t seed)
      : model_(model), prompts_(std::move(prompts)), seed_(seed) {}

  struct Quality {
    double psnr = 0, ssim = 0;      // means over the prompts
    evaluation::ShapesTally tally;  // of the captions' claims
  };

  const std::vector<ComparedPrompt>& prompts() const { return prompts_; }
  ops::Grid grid() const { return model_.grid(); }
  std::int64_t num_steps() const { return model_.num_steps(); }
  Quality quality(const evaluation::LayerAttention& attention);
  Quality dense_quality();

  // The lowest PSNR of a video after `dense_steps` steps of dense attention. Stops at the first
  // one below `at_least`; `videos` counts.
  double lowest_psnr(const evaluation::LayerAttention& attention, std::int64_t dense_steps,
                     double at_least, std::int64_t& videos);

 private:
  at::Tensor video(std::size_t prompt, const evaluation::LayerAttention& attention,
                   std::int64_t dense_steps = 0);
  const at::Tensor& dense_video(std::size_t prompt);
  void add(Quality& quality, std::size_t prompt, const at::Tensor& frames);

  ComparedModel& model_;
  std::vector<ComparedPrompt> prompts_;
  std::uint64_t seed_;
  std::vector<at::Tensor> dense_videos_;  // undefined until wanted
};

// "family", "name", "sparsity", "psnr" (null: equal), "ssim", and what captions show.
Json quality_json(const std::string& family, const std::string& name, double sparsity,
                  const VideoJudge::Quality& quality);

// As one of the methods of a source whose measure is the videos' root mean square error.
evaluation::MethodResult as_result(const evaluation::AttentionMethod& method, double sparsity,
                                   const VideoJudge::Quality& quality);

}  // namespace monarch::apps
