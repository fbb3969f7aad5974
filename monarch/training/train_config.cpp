#include "monarch/training/train_config.h"

#include "monarch/base/error.h"
#include "monarch/io/yaml.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

// Read by no code of the originals either, or about units of sharding and wandb: understood,
// without effect.
constexpr const char* kWithoutEffect[] = {"generator_fsdp_wrap_strategy",
                                          "real_score_fsdp_wrap_strategy",
                                          "fake_score_fsdp_wrap_strategy",
                                          "text_encoder_fsdp_wrap_strategy",
                                          "total_batch_size",
                                          "discriminator_lr_multiplier",
                                          "gc_interval",
                                          "ckpt_step",
                                          "prompt_name",
                                          "prompt_path",
                                          "eval_first_n",
                                          "num_samples",
                                          "height",
                                          "width",
                                          "num_frames",
                                          "fps",
                                          "sid_alpha",
                                          "wandb_host",
                                          "wandb_key",
                                          "wandb_entity",
                                          "wandb_project"};

void refuse(bool condition, const std::string& where, const char* what, const char* instead) {
  MONARCH_CHECK(!condition, "[config] ", where, ": ", what, " is not supported; ", instead);
}

void read_model_kwargs(const Json& json, const std::string& where, TrainConfig& config,
                       double& timestep_shift) {
  OptionsReader reader(json, where);
  timestep_shift = 8.0;
  reader.read("timestep_shift", timestep_shift);
  reader.read("model_name", config.model_name);
  reader.read("local_attn_size", config.local_attn_size);
  reader.read("sink_size", config.sink_size);
  reader.read("relative_sink", config.relative_sink);
  reader.finish();
}

void read_updates(OptionsReader& reader, TrainConfig& config) {
  UpdateOptions generator, critic;
  reader.read("lr", generator.lr);
  critic.lr = generator.lr;
  reader.read("lr_critic", critic.lr);
  reader.read("beta1", generator.adamw.beta1);
  reader.read("beta2", generator.adamw.beta2);
  reader.read("beta1_critic", critic.adamw.beta1);
  reader.read("beta2_critic", critic.adamw.beta2);
  reader.read("weight_decay", generator.adamw.weight_decay);
  critic.adamw.weight_decay = generator.adamw.weight_decay;
  reader.read("max_grad_norm_generator", generator.max_grad_norm);
  reader.read("max_grad_norm_critic", critic.max_grad_norm);
  EmaOptions ema;
  reader.read("ema_weight", ema.decay);
  reader.read("ema_start_step", ema.start_step);
  int64_t accumulation = 1;
  reader.read("gradient_accumulation", accumulation);
  config.diffusion.update = config.distillation.generator = generator;
  config.distillation.critic = critic;
  config.diffusion.ema = config.distillation.ema = ema;
  config.diffusion.accumulation = config.distillation.accumulation = accumulation;
}

void read_distillation(OptionsReader& reader, const std::string& where, TrainConfig& config) {
  DistillationOptions& options = config.distillation;
  reader.read("num_frame_per_block", options.simulation.num_frame_per_block);
  reader.read("independent_first_frame", options.simulation.independent_first_frame);
  reader.read("same_step_across_blocks", options.simulation.same_step_across_blocks);
  reader.read("last_step_only", options.simulation.last_step_only);
  reader.read("context_noise", options.simulation.context_noise);
  reader.read("num_training_frames", options.simulation.num_training_frames);
  reader.read("loss_frames", options.simulation.loss_frames);
  reader.read("num_train_timestep", options.score_noise.num_train_timesteps);
  reader.read("timestep_shift", options.score_noise.timestep_shift);
  reader.read("min_score_timestep", options.score_noise.min_score_timestep);
  reader.read("ts_schedule", options.score_noise.ts_schedule);
  reader.read("ts_schedule_max", options.score_noise.ts_schedule_max);
  reader.read("score_timestep_shift", options.score_timestep_shift);
  reader.read("dfake_gen_update_ratio", options.generator_every);
  reader.read("guidance_scale", config.guidance_scale);
  options.guidance.real = config.guidance_scale;
  double fake = 0;
  const bool has_fake = reader.read("fake_guidance_scale", fake);
  if (reader.read("real_guidance_scale", options.guidance.real)) {
    MONARCH_CHECK(has_fake, "[config] ", where,
                  " has real_guidance_scale without fake_guidance_scale; give both or none");
    options.guidance.fake = fake;
  }
  std::string loss_type = "flow", distribution_loss = "dmd";
  reader.read("denoising_loss_type", loss_type);
  options.critic_target = critic_target(loss_type);
  reader.read("distribution_loss", distribution_loss);
  MONARCH_CHECK(distribution_loss == "dmd", "[config] ", where, ": distribution_loss is '",
                distribution_loss, "'; only dmd is supported");
  bool backward_simulation = true;
  reader.read("backward_simulation", backward_simulation);
  refuse(!backward_simulation, where, "backward_simulation false", "leave it out");
}

void read_attention(OptionsReader& reader, const std::string& where, const Json& merged,
                    TrainConfig& config) {
  const auto read_monarch = [&](const char* key, ops::MonarchOptions& options) {
    reader.accept(key);
    if (merged.contains(key))
      options = ops::MonarchOptions::from_json(merged.at(key), str_cat(where, ".", key));
  };
  read_monarch("monarch_args", config.monarch);
  read_monarch("score_monarch_args", config.score_monarch);
  std::string gradient;
  if (reader.read("cache_gradient", gradient)) {
    MONARCH_CHECK(gradient == "straight_through" || gradient == "detached", "[config] ", where,
                  ".cache_gradient is '", gradient, "'; use straight_through or detached");
    config.cache_gradient = gradient == "detached" ? models::CacheGradient::kDetached
                                                   : models::CacheGradient::kStraightThrough;
  }
  double scale = 0;
  if (reader.read("monarch_softmax_scale", scale)) config.monarch_softmax_scale = scale;
}

void check(const TrainConfig& config, const std::string& where) {
  MONARCH_CHECK(config.shape.size() == 5 &&
                    std::ranges::all_of(config.shape, [](int64_t size) { return size >= 1; }),
                "[config] ", where, ".image_or_video_shape is ", shape_string(config.shape),
                "; five sizes [B, F, C, H, W] of a latent were expected");
  MONARCH_CHECK(!config.data_path.empty(), "[config] ", where,
                " has no data_path; name a file of prompts, or an LMDB of latents");
  MONARCH_CHECK(
      config.batch_size >= 1 && config.num_training_iters >= 1 && config.log_iters >= 1 &&
          config.validate_iters >= 1 && config.sequence_parallel_size >= 1,
      "[config] ", where,
      ": batch_size, num_training_iters, log_iters, validate_iters and sequence_parallel_size must "
      "be at least 1");
  MONARCH_CHECK(!config.distils || !config.denoising_step_list.empty(), "[config] ", where,
                " has no denoising_step_list; for example [1000, 750, 500, 250]");
}

}  // namespace

TrainConfig train_config_from_json(const Json& merged, const std::string& where) {
  TrainConfig config;
  config.resolved = merged;
  OptionsReader reader(merged, where);
  std::string trainer;
  reader.read("trainer", trainer);
  MONARCH_CHECK(trainer == "diffusion" || trainer == "score_distillation", "[config] ", where,
                ": trainer is '", trainer, "'; use diffusion or score_distillation");
  config.distils = trainer == "score_distillation";
  reader.read("causal", config.causal);
  reader.read("generator_ckpt", config.generator_ckpt);
  reader.read("init_ema", config.init_ema);
  reader.read("real_name", config.real_name);
  reader.read("fake_name", config.fake_name);
  read_attention(reader, where, merged, config);
  double shift = 8.0;
  reader.accept("model_kwargs");
  read_model_kwargs(merged.value("model_kwargs", Json::object()), where + ".model_kwargs", config,
                    shift);
  config.diffusion.timestep_shift = config.distillation.timestep_shift = shift;
  reader.read("image_or_video_shape", config.shape);
  reader.read("denoising_step_list", config.denoising_step_list);
  reader.read("warp_denoising_step", config.warp_denoising_step);
  config.distillation.simulation.num_frame_per_block = 1;
  read_distillation(reader, where, config);
  read_updates(reader, config);
  reader.read("negative_prompt", config.negative_prompt);
  reader.read("data_path", config.data_path);
  reader.read("batch_size", config.batch_size);
  reader.read("seed", config.seed);
  reader.read("num_training_iters", config.num_training_iters);
  reader.read("log_iters", config.log_iters);
  reader.read("mixed_precision", config.mixed_precision);
  reader.read("gradient_checkpointing", config.gradient_checkpointing);
  reader.read("cpu_offload_all", config.offload_teacher);
  config.offload_text_encoder = config.offload_teacher;
  reader.read("text_encoder_cpu_offload", config.offload_text_encoder);
  std::string sharding;
  if (reader.read("sharding_strategy", sharding))
    config.sharding = sharding_strategy(sharding, where + ".sharding_strategy");
  reader.read("sequence_parallel_size", config.sequence_parallel_size);
  reader.read("loss_limit", config.loss_limit);
  reader.read("validate_iters", config.validate_iters);
  reader.read("validate_first_n", config.validate_first_n);
  reader.read("validation_prompts_file", config.validation_prompts_file);
  bool i2v = false, load_raw_video = false;
  reader.read("i2v", i2v);
  reader.read("load_raw_video", load_raw_video);
  refuse(i2v, where, "i2v in training", "set it to false");
  refuse(load_raw_video, where, "load_raw_video", "encode the videos first with monarch convert");
  for (const char* key : kWithoutEffect) reader.accept(key);
  reader.finish();
  check(config, where);
  config.diffusion.levels = {.by_chunk = config.causal,
                             .num_frame_per_block = config.num_frame_per_block(),
                             .independent_first_frame = config.independent_first_frame()};
  if (!config.denoising_step_list.empty()) {
    const sampling::FlowMatchSchedule schedule(sampling::FlowMatchConfig::self_forcing(shift));
    config.distillation.simulation.timesteps = sampling::denoising_timesteps(
        schedule, config.denoising_step_list, config.warp_denoising_step, /*drop_final_zero=*/true);
  }
  config.distillation.channels = config.shape[2];
  config.distillation.height = config.shape[3];
  config.distillation.width = config.shape[4];
  return config;
}

TrainConfig load_train_config(const fs::path& file, const fs::path& defaults) {
  const Json run = io::read_yaml(file);
  const fs::path beside = file.parent_path() / "default_config.yaml";
  const Json merged = io::deep_merge(io::read_yaml(fs::exists(beside) ? beside : defaults), run);
  TrainConfig config = train_config_from_json(merged, file.filename().string());
  config.name = file.filename().string();
  config.name.resize(std::min(config.name.find('.'), config.name.size()));
  return config;
}

}  // namespace monarch::training
