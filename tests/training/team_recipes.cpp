#include "tests/training/team_recipes.h"

#include <functional>
#include <utility>

namespace monarch::training::test {
namespace {

constexpr int64_t kBatch = 4;  // samples of an update, over all ranks

models::WanConfig of_team(models::WanConfig config, const Team& team) {
  config.sequence = team.sequence();
  return config;
}

}  // namespace

models::WanConfig tiny(int64_t layers) {
  models::WanConfig config = tiny_dit();
  config.num_layers = layers;
  return config;
}

Batch Samples::next() {
  sample_ = position_++ * team_.size() + team_.rank();
  return {.context = random("context", {1, 4, 8}), .latents = random("latents", {1, 4, 4, 4, 4})};
}

at::Tensor Samples::random(const std::string& what, at::IntArrayRef shape) const {
  return at::randn(shape, generator(what), at::kDouble).to(type_);
}

at::Generator Samples::generator(const std::string& what) const {
  return pipelines::seeded_generator(std::hash<std::string>()(what) % 100'000 * 1000 +
                                     static_cast<std::uint64_t>(sample_));
}

at::Tensor SampleDraws::normal(const std::string& what, const pipelines::LatentShape& s,
                               const at::TensorOptions& options) {
  return samples_.random(what, {s.batch, s.channels, s.frames, s.height, s.width}).to(options);
}

at::Tensor SampleDraws::integers(const std::string& what, int64_t low, int64_t high,
                                 at::IntArrayRef shape) {
  return at::randint(low, high, shape, samples_.generator(what), at::kLong);
}

at::Tensor SampleDraws::common_integers(const std::string& what, int64_t low, int64_t high,
                                        at::IntArrayRef shape) {
  return at::randint(low, high, shape, pipelines::seeded_generator(what.size()), at::kLong);
}

models::TensorMap weights(const models::WanConfig& config, std::uint64_t seed) {
  models::TensorMap weights =
      models::random_dit_weights(config, pipelines::seeded_generator(seed), at::kDouble);
  weights.at("head.head.weight").normal_(0, 0.1, pipelines::seeded_generator(seed + 1));
  return weights;
}

// A large epsilon: Adam would turn a gradient's rounding into a whole step.
UpdateOptions updates() {
  UpdateOptions options{.lr = 1e-2, .max_grad_norm = 0.5};
  options.adamw = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-2, .decay_vectors = true};
  options.adamw.weight_decay = 0.1;
  return options;
}

namespace {

std::unique_ptr<IterativeRecipe> diffusion_of(models::WanConfig config, const Team& team) {
  return std::make_unique<DiffusionRecipe>(
      of_team(std::move(config), team), /*causal=*/true, weights(tiny(3), 3),
      DiffusionOptions{.levels = {.by_chunk = true, .num_frame_per_block = 2},
                       .update = updates(),
                       .ema = {.decay = 0.9, .start_step = 2},
                       .accumulation = kBatch / team.size()},
      team);
}

}  // namespace

std::unique_ptr<IterativeRecipe> diffusion(const Team& team) { return diffusion_of(tiny(3), team); }

std::unique_ptr<IterativeRecipe> checkpointed_diffusion(const Team& team) {
  models::WanConfig config = tiny(3);
  config.recompute_layers = true;
  return diffusion_of(config, team);
}

std::unique_ptr<IterativeRecipe> distillation(const Team& team) {
  models::WanConfig generator = tiny(2);
  generator.monarch = {.enable = true, .num_iters = 1};
  models::TensorMap teacher_weights = weights(tiny(3), 9);
  std::shared_ptr<ShardedParameters> pieces;
  if (team.sharding() != nullptr) {
    pieces = std::make_shared<ShardedParameters>(teacher_weights, *team.sharding(), false);
    teacher_weights = pieces->outside();
  }
  DistillationOptions options;
  options.channels = options.height = options.width = 4;
  options.simulation = {.timesteps = {1000, 500},
                        .num_frame_per_block = 2,
                        .loss_frames = 4,
                        .num_training_frames = 4};
  options.generator_every = 1;
  options.generator = options.critic = updates();
  options.ema = {.decay = 0.9, .start_step = 1};
  options.accumulation = kBatch / team.size();
  return std::make_unique<DistillationRecipe>(
      DistillationRecipe::Networks{
          .generator_config = of_team(generator, team),
          .causal = true,
          .generator = weights(generator, 3),
          .cache_gradient = models::CacheGradient::kStraightThrough,
          .critic_config = of_team(tiny(2), team),
          .critic = weights(tiny(2), 5),
          .teacher = score_model(std::make_shared<const models::WanDit>(of_team(tiny(3), team),
                                                                        teacher_weights, pieces),
                                 std::make_shared<const sampling::FlowMatchSchedule>(
                                     sampling::FlowMatchConfig::self_forcing(8.0))),
          .negative_context = at::ones({1, 4, 8}, at::kDouble),
          .latent_options = at::kDouble},
      options, team);
}

}  // namespace monarch::training::test
