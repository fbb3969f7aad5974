// A Wan model as the engine of the server: causal few-step models stream without end, the others
// make one video after another.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "monarch/ops/side_stream.h"
#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/streaming.h"
#include "monarch/pipelines/wan_system.h"
#include "monarch/serving/engine.h"

namespace monarch::serving {

class WanEngine final : public Engine {
 public:
  // `system` must outlive the engine; `options` say size, mode and defaults.
  WanEngine(pipelines::WanSystem& system, pipelines::GenerationOptions options)
      : WanEngine(system, std::move(options), !system.options().device.is_cpu()) {}
  // `decode_beside`: a stream's chunk may be awaited while the next is denoised (EngineChunk).
  WanEngine(pipelines::WanSystem& system, pipelines::GenerationOptions options, bool decode_beside);

  const ModelCard& card() const override { return card_; }
  void prepare() override;
  std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                     std::optional<std::int64_t> num_frames) override;

 private:
  class Causal;
  class WholeVideos;
  // A model and its streamer for each way to attend and number of steps; weights are shared.
  struct Variant {
    std::shared_ptr<const models::CausalWanDit> model;
    std::unique_ptr<pipelines::Streamer> streamer;
    double sparsity = 0;
  };

  pipelines::GenerationOptions options_for(const StreamSettings& settings) const;
  const Variant& variant(const StreamSettings& settings);
  at::Tensor encode(const std::string& prompt);

  pipelines::WanSystem& system_;
  const pipelines::GenerationOptions options_;
  const bool decode_beside_;
  ModelCard card_;
  std::map<std::pair<std::string, std::int64_t>, Variant> variants_;
  std::shared_ptr<const models::WanVae> vae_;
  ops::SideStream decoding_;  // the first to go: it waits for what uses the others
};

}  // namespace monarch::serving
