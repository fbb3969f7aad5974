#include "monarch/training/losses/flow_matching.h"

#include "monarch/base/error.h"

namespace monarch::training {

at::Tensor tie_chunks(const at::Tensor& per_frame, int64_t num_frame_per_block,
                      bool independent_first_frame) {
  const int64_t single = independent_first_frame ? 1 : 0;
  const int64_t rest = per_frame.size(1) - single;
  MONARCH_CHECK(num_frame_per_block >= 1 && rest % num_frame_per_block == 0, "[monarch_training] ",
                per_frame.size(1), " latent frames do not split into ",
                independent_first_frame ? "one frame and " : "", "chunks of ", num_frame_per_block,
                "; change num_frame_per_block or the length of the videos");
  const at::Tensor firsts = per_frame.slice(1, single, at::nullopt, num_frame_per_block);
  return at::cat({per_frame.slice(1, 0, single), firsts.repeat_interleave(num_frame_per_block, 1)},
                 1);
}

at::Tensor draw_noise_levels(const NoiseLevels& levels, int64_t batch, int64_t num_frames,
                             const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  const int64_t entries = schedule.timesteps().size(0);
  const at::Tensor drawn =
      draws.integers("timestep_index_draw", 0, entries, {batch, levels.by_chunk ? num_frames : 1});
  if (!levels.by_chunk) return drawn.expand({batch, num_frames});
  return tie_chunks(drawn, levels.num_frame_per_block, levels.independent_first_frame);
}

FlowMatchingTerms flow_matching_loss(const FlowModel& flow, const at::Tensor& x0,
                                     const at::Tensor& context, const NoiseLevels& levels,
                                     const sampling::FlowMatchSchedule& schedule, Draws& draws) {
  const at::Tensor noise = draws.normal("noise", shape_of(x0), x0.options());
  const at::Tensor index = draw_noise_levels(levels, x0.size(0), x0.size(2), schedule, draws);
  FlowMatchingTerms terms;
  terms.timestep = schedule.timesteps().index({index}).to(x0.device(), x0.scalar_type());
  terms.x_t = schedule.add_noise(x0, noise, sampling::frame_timestep(terms.timestep));
  terms.flow = flow(terms.x_t, terms.timestep, context);
  const at::Tensor target = schedule.training_target(x0, noise);
  const at::Tensor error =
      (terms.flow.to(at::kFloat) - target.to(at::kFloat)).square().mean({1, 3, 4});  // [B, F]
  terms.weight = schedule.training_weight(terms.timestep);
  terms.loss = (terms.weight * error).mean();
  return terms;
}

}  // namespace monarch::training
