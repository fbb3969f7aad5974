#include "monarch/models/wan/dit.h"

#include "monarch/models/wan/dit_body.h"
#include "monarch/models/wan/patchify.h"

namespace monarch::models {

WanDit::WanDit(const WanConfig& config, const TensorMap& weights)
    : config_(config),
      weights_(std::make_shared<const DitWeights>(DitWeights::read(config, weights))) {
  check_no_chunk_rules(config_);
}

at::Tensor WanDit::forward(const DitInput& input) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  const at::Tensor t = input.t.dim() == 1 ? input.t.unsqueeze(1) : input.t;
  const at::Tensor context = embed_input_context(*weights_, config_, input);
  return run_body(
      *weights_, config_, x, t, /*start_frame=*/0,
      [&](size_t layer) {
        return cross_keys(weights_->layers[layer].cross_attn, config_, context);
      },
      [&](size_t layer, const ops::Projections& projections) {
        return bidirectional_attention(
            rotated(projections),
            head_groups(config_, static_cast<int64_t>(layer), {.step = input.step}), grid);
      });
}

}  // namespace monarch::models
