#include "monarch/models/wan/dit.h"

#include <utility>

#include "monarch/models/wan/dit_body.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/sequence.h"

namespace monarch::models {

WanDit::WanDit(const WanConfig& config, const TensorMap& weights,
               std::shared_ptr<LayerSource> source)
    : config_(config),
      weights_(std::make_shared<const DitWeights>(
          DitWeights::read(config, weights, std::move(source)))) {
  check_no_chunk_rules(config_);
}

at::Tensor WanDit::forward(const DitInput& input) const {
  const at::Tensor x = model_input(config_, input);
  const ops::Grid grid = token_grid(x, config_.patch_size);
  const at::Tensor t = input.t.dim() == 1 ? input.t.unsqueeze(1) : input.t;
  return run_body(*weights_, config_,
                  {.x = x,
                   .t = t,
                   .context = [&] { return embed_input_context(*weights_, config_, input); },
                   .attend =
                       [config = config_, step = input.step, grid](
                           size_t layer, const ops::Projections& projections) {
                         return bidirectional_attention(
                             rotated(projections),
                             own_head_groups(config, static_cast<int64_t>(layer), {.step = step}),
                             grid);
                       }});
}

}  // namespace monarch::models
