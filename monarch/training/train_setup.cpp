#include "monarch/training/train_setup.h"

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/io/prompts.h"
#include "monarch/models/wan/generator_checkpoint.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/wan_names.h"
#include "monarch/pipelines/run_options.h"
#include "monarch/training/data/encoded_videos.h"
#include "monarch/training/data/lmdb_latents.h"
#include "monarch/training/offloaded_layers.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

struct Transformer {
  models::WanConfig config;
  std::shared_ptr<const io::Checkpoint> weights;
};

Transformer open_transformer(const std::string& name) {
  const fs::path folder = model_folder(name);
  const models::ModelFolder found = models::find_model(folder);
  return {models::WanConfig::from_json(found.transformer_config,
                                       (folder / found.transformer_config_file()).string()),
          found.open_transformer()};
}

// A teacher or critic of this run.
Transformer open_scorer(const std::string& name, const TrainConfig& config, const Team& team) {
  Transformer scorer = open_transformer(name);
  scorer.config.monarch = config.score_monarch;
  scorer.config.sequence = team.sequence();
  return scorer;
}

// Copies, under Wan's names.
models::TensorMap load(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                       const at::TensorOptions& options) {
  models::TensorMap loaded;
  for (const auto& [name, tensor] : models::with_wan_names(models::to_tensors(checkpoint)))
    loaded.emplace(name, tensor.to(options, /*non_blocking=*/false, /*copy=*/true));
  return loaded;
}

}  // namespace

fs::path model_folder(const std::string& name) { return pipelines::named_model(name); }

TrainSetup::TrainSetup(const TrainConfig& config, at::Device device, const Team& team)
    : config_(config),
      team_(team),
      latent_options_(at::TensorOptions().device(device).dtype(
          config.mixed_precision ? at::kBFloat16 : at::kFloat)),
      system_(std::make_unique<pipelines::WanSystem>(
          model_folder(config.model_name),
          pipelines::WanSystemOptions{.dtype = config.mixed_precision ? at::kBFloat16 : at::kFloat,
                                      .device = device,
                                      .sequence = team.sequence()})),
      generator_config_(system_->transformer_config()) {
  generator_config_.monarch = config.monarch;
  generator_config_.vmonarch.reset();
  generator_config_.attention.clear();
  generator_config_.num_frame_per_block = config.num_frame_per_block();
  generator_config_.independent_first_frame = config.independent_first_frame();
  generator_config_.local_attn_size = config.local_attn_size;
  generator_config_.sink_size = config.sink_size;
  generator_config_.relative_sink = config.relative_sink;
  generator_config_.causal_train_scale = config.monarch_softmax_scale;
  generator_config_.recompute_layers = config.gradient_checkpointing;
  generator_config_.validate();
  MONARCH_CHECK(config.shape[2] == generator_config_.in_dim, "[config] image_or_video_shape ",
                shape_string(config.shape), " has ", config.shape[2],
                " channels, the generator takes ", generator_config_.in_dim);
  if (config.offload_text_encoder) {
    text_system_ = std::make_unique<pipelines::WanSystem>(
        model_folder(config.model_name),
        pipelines::WanSystemOptions{.dtype = system_->options().dtype, .device = at::kCPU});
  }
  recipe_ = config.distils ? make_distillation() : make_diffusion();
}

at::Tensor TrainSetup::encode_text(std::span<const std::string> prompts) {
  return (text_system_ ? *text_system_ : *system_).encode_text(prompts).to(latent_options_);
}

models::TensorMap TrainSetup::generator_parameters() const {
  const at::TensorOptions options = latent_options_.dtype(at::kFloat);
  const std::string& first = config_.generator_ckpt;
  if (first.empty()) return load(open_transformer(config_.model_name).weights, options);
  // A model's folder may hold other networks' files too.
  const auto checkpoint = fs::exists(fs::path(first) / "config.json")
                              ? models::find_model(first).open_transformer()
                              : io::open_checkpoint(first);
  return load(
      models::generator_of(checkpoint, config_.init_ema ? models::GeneratorWeights::kAveraged
                                                        : models::GeneratorWeights::kRaw),
      options);
}

std::unique_ptr<IterativeRecipe> TrainSetup::make_diffusion() {
  return std::make_unique<DiffusionRecipe>(generator_config_, config_.causal,
                                           generator_parameters(), config_.diffusion, team_);
}

std::unique_ptr<IterativeRecipe> TrainSetup::make_distillation() {
  Transformer critic = open_scorer(config_.fake_name, config_, team_);
  critic.config.recompute_layers = config_.gradient_checkpointing;
  critic.config.validate();
  const std::string negative[] = {config_.negative_prompt};
  DistillationRecipe::Networks networks{
      .generator_config = generator_config_,
      .causal = config_.causal,
      .generator = generator_parameters(),
      .cache_gradient = config_.cache_gradient,
      .critic_config = critic.config,
      .critic = load(critic.weights, latent_options_.dtype(at::kFloat)),
      .teacher = score_model(load_teacher(), std::make_shared<const sampling::FlowMatchSchedule>(
                                                 sampling::FlowMatchConfig::self_forcing(
                                                     config_.distillation.score_timestep_shift))),
      .negative_context = encode_text(negative),
      .encode_last = last_frame_encoder(),
      .latent_options = latent_options_};
  return std::make_unique<DistillationRecipe>(std::move(networks), config_.distillation, team_);
}

std::shared_ptr<const models::WanDit> TrainSetup::load_teacher() const {
  Transformer teacher = open_scorer(config_.real_name, config_, team_);
  teacher.config.validate();
  const bool sharded = team_.sharding() != nullptr;
  const at::Device device =
      config_.offload_teacher && !sharded ? at::Device(at::kCPU) : latent_options_.device();
  const models::TensorMap parameters = load(teacher.weights, latent_options_.device(device));
  if (sharded) {
    const auto pieces =
        std::make_shared<ShardedParameters>(parameters, *team_.sharding(), /*trained=*/false);
    return std::make_shared<const models::WanDit>(teacher.config, pieces->outside(), pieces);
  }
  if (config_.offload_teacher) {
    const auto layers = std::make_shared<OffloadedLayers>(parameters, latent_options_.device());
    return std::make_shared<const models::WanDit>(teacher.config, layers->outside(), layers);
  }
  return std::make_shared<const models::WanDit>(teacher.config, parameters);
}

LastFrameEncoder TrainSetup::last_frame_encoder() {
  return [this](const at::Tensor& latents) {
    const at::Tensor frames = system_->vae()->decode(latents.to(latent_options_)).clamp(-1, 1);
    return system_->vae()->encode(frames.slice(2, -1)).to(latents.scalar_type());
  };
}

std::shared_ptr<const LatentData> TrainSetup::open_latents() {
  const fs::path path = config_.data_path;
  if (!fs::is_directory(path) || is_lmdb(path)) return std::make_shared<const LmdbLatents>(path);
  const models::VaeConfig& vae = system_->vae_config();
  return std::make_shared<const EncodedVideos>(
      clips_of_folder(path, {.width = config_.shape[4] * vae.spatial_factor(),
                             .height = config_.shape[3] * vae.spatial_factor(),
                             .frames = vae.num_frames(config_.shape[1])}),
      *system_->vae(), latent_options_, /*keep=*/true);
}

std::unique_ptr<BatchSource> TrainSetup::open_data() {
  const auto encode = [this](std::span<const std::string> prompts) { return encode_text(prompts); };
  if (config_.distils) {
    std::vector<std::string> prompts = io::read_prompts(config_.data_path);
    MONARCH_CHECK(!prompts.empty(), "[monarch_training] ", config_.data_path,
                  " has no prompts; give a text file with one prompt a line");
    log_info(prompts.size(), " prompts from ", config_.data_path);
    return std::make_unique<DataBatches>(std::move(prompts), encode, config_.batch_size, team_);
  }
  const std::shared_ptr<const LatentData> data = open_latents();
  const at::Tensor first = data->latents(0);
  const std::vector<int64_t>& s = config_.shape;
  MONARCH_CHECK(first.sizes() == at::IntArrayRef({s[2], s[1], s[3], s[4]}),
                "[monarch_training] latents of ", config_.data_path, " have (C, F, H, W) ",
                shape_string(first.sizes()), ", image_or_video_shape [B, F, C, H, W] is ",
                shape_string(s), "; change one of them");
  log_info(data->size(), " latents from ", config_.data_path);
  return std::make_unique<DataBatches>(data, encode, config_.batch_size, team_, latent_options_);
}

}  // namespace monarch::training
