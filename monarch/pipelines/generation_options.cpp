#include "monarch/pipelines/generation_options.h"

#include <array>
#include <cmath>
#include <utility>

#include "monarch/base/divisors.h"
#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

// Keys of training files that have no meaning when generating.
constexpr std::array kTrainingKeys = {"backward_simulation",
                                      "batch_size",
                                      "beta1",
                                      "beta1_critic",
                                      "beta2",
                                      "beta2_critic",
                                      "cache_gradient",
                                      "ckpt_step",
                                      "config_name",
                                      "cpu_offload_all",
                                      "data_path",
                                      "denoising_loss_type",
                                      "dfake_gen_update_ratio",
                                      "disable_wandb",
                                      "discriminator_lr_multiplier",
                                      "distribution_loss",
                                      "ema_start_step",
                                      "ema_weight",
                                      "eval_first_n",
                                      "fake_guidance_scale",
                                      "fake_name",
                                      "fake_score_fsdp_wrap_strategy",
                                      "gc_interval",
                                      "generator_ckpt",
                                      "generator_fsdp_wrap_strategy",
                                      "gradient_accumulation",
                                      "gradient_checkpointing",
                                      "i2v",
                                      "image_or_video_shape",
                                      "init_ema",
                                      "last_step_only",
                                      "load_raw_video",
                                      "log_iters",
                                      "logdir",
                                      "loss_frames",
                                      "loss_limit",
                                      "lr",
                                      "lr_critic",
                                      "max_grad_norm_critic",
                                      "max_grad_norm_generator",
                                      "min_score_timestep",
                                      "mixed_precision",
                                      "monarch_softmax_scale",
                                      "no_save",
                                      "no_visualize",
                                      "num_samples",
                                      "num_train_timestep",
                                      "num_training_frames",
                                      "num_training_iters",
                                      "prompt_name",
                                      "prompt_path",
                                      "real_guidance_scale",
                                      "real_name",
                                      "real_score_fsdp_wrap_strategy",
                                      "same_step_across_blocks",
                                      "score_monarch_args",
                                      "score_timestep_shift",
                                      "seed",
                                      "sharding_strategy",
                                      "sid_alpha",
                                      "text_encoder_cpu_offload",
                                      "text_encoder_fsdp_wrap_strategy",
                                      "total_batch_size",
                                      "trainer",
                                      "ts_schedule",
                                      "ts_schedule_max",
                                      "validate_first_n",
                                      "validate_iters",
                                      "validation_prompts_file",
                                      "wandb_entity",
                                      "wandb_host",
                                      "wandb_key",
                                      "wandb_project",
                                      "wandb_save_dir",
                                      "weight_decay"};

constexpr std::int64_t kMaxSide = 16384;        // of an .mp4
constexpr std::int64_t kMaxFrames = 1'000'001;  // 17 hours

// The multiples of `step` below and above `value`.
std::string neighbours(std::int64_t value, std::int64_t step) {
  const std::int64_t below = value / step * step;
  return below > 0 ? str_cat(below, " or ", below + step) : str_cat(step);
}

}  // namespace

std::string_view generation_mode_name(GenerationMode mode) {
  switch (mode) {
    case GenerationMode::kDiffusion: return "bidirectional diffusion";
    case GenerationMode::kFewStep: return "bidirectional few-step";
    case GenerationMode::kCausalDiffusion: return "causal diffusion";
    case GenerationMode::kSelfForcing: return "self-forcing";
  }
  return "unknown";
}

AttentionPreset parse_attention_preset(const std::string& name) {
  if (name == "dense") return AttentionPreset::kDense;
  if (name == "monarchrt" || name == "monarch") return AttentionPreset::kMonarchRt;
  if (name == "vmonarch") return AttentionPreset::kVMonarch;
  const std::array<std::string, 3> known = {"dense", "monarchrt", "vmonarch"};
  fail(ErrorCode::kInvalidArgument, "[generate] unknown attention preset '", name,
       "'; use dense, monarchrt or vmonarch", did_you_mean(name, known));
}

std::string_view attention_preset_name(AttentionPreset preset) {
  switch (preset) {
    case AttentionPreset::kDense: return "dense";
    case AttentionPreset::kMonarchRt: return "monarchrt";
    case AttentionPreset::kVMonarch: return "vmonarch";
  }
  return "unknown";
}

std::string attention_name(const GenerationOptions& options) {
  if (!options.attention_rules.empty()) return "hybrid";
  return std::string(attention_preset_name(options.attention));
}

GenerationMode GenerationOptions::mode() const {
  if (causal)
    return denoising_step_list.empty() ? GenerationMode::kCausalDiffusion
                                       : GenerationMode::kSelfForcing;
  return denoising_step_list.empty() ? GenerationMode::kDiffusion : GenerationMode::kFewStep;
}

void GenerationOptions::apply(const Json& config, const std::string& where) {
  OptionsReader reader(config, where);
  reader.read("width", width);
  reader.read("height", height);
  reader.read("num_frames", num_frames);
  reader.read("fps", frames_per_second);
  reader.read("negative_prompt", negative_prompt);
  reader.read("guidance_scale", guidance_scale);
  reader.read("sample_solver", sample_solver);
  reader.read("sampling_steps", sampling_steps);
  reader.read("denoising_step_list", denoising_step_list);
  reader.read("warp_denoising_step", warp_denoising_step);
  reader.read("causal", causal);
  reader.read("num_frame_per_block", num_frame_per_block);
  reader.read("independent_first_frame", independent_first_frame);
  reader.read("context_noise", context_noise);
  double shift = sample_shift;  // the originals' causal sampler takes timestep_shift, the
                                // bidirectional one is fixed
  if (reader.read("timestep_shift", shift) && causal) sample_shift = shift;
  reader.read("sample_shift", sample_shift);
  Json model_kwargs;
  if (reader.read("model_kwargs", model_kwargs)) {
    OptionsReader model(model_kwargs, where + ".model_kwargs");
    model.read("timestep_shift", timestep_shift);
    model.read("local_attn_size", local_attn_size);
    model.read("sink_size", sink_size);
    model.read("relative_sink", relative_sink);
    model.accept("model_name");
    model.finish();
  }
  Json attention_json;
  if (reader.read("monarch_args", attention_json)) {
    monarch = ops::MonarchOptions::from_json(attention_json, where + ".monarch_args");
    attention = monarch.enable ? AttentionPreset::kMonarchRt : AttentionPreset::kDense;
  }
  if (reader.read("vmonarch_args", attention_json)) {
    vmonarch = ops::VMonarchOptions::from_json(attention_json, where + ".vmonarch_args");
    attention = AttentionPreset::kVMonarch;
  }
  if (reader.read("attention", attention_json))
    attention_rules = models::attention_rules_from_json(attention_json, where + ".attention");
  for (const char* key : kTrainingKeys) reader.accept(key);
  reader.finish();
}

void GenerationOptions::validate(std::int64_t patch_height, std::int64_t patch_width) const {
  MONARCH_CHECK(width > 0 && width % patch_width == 0, "[generate] width ", width,
                " is not a positive multiple of ", patch_width, "; use ",
                neighbours(width, patch_width));
  MONARCH_CHECK(height > 0 && height % patch_height == 0, "[generate] height ", height,
                " is not a positive multiple of ", patch_height, "; use ",
                neighbours(height, patch_height));
  MONARCH_CHECK(num_frames >= 1 && num_frames % 4 == 1, "[generate] ", num_frames,
                " frames are not 1 more than a multiple of 4; use ",
                std::max<std::int64_t>(num_frames - 1, 0) / 4 * 4 + 1, " or ",
                std::max<std::int64_t>(num_frames - 1, 0) / 4 * 4 + 5);
  MONARCH_CHECK(width <= kMaxSide && height <= kMaxSide && num_frames <= kMaxFrames, "[generate] ",
                num_frames, " frames of ", width, "x", height, " are too many; up to ", kMaxFrames,
                " frames with sides up to ", kMaxSide, " can be made");
  MONARCH_CHECK(sampling_steps >= 1 && sampling_steps <= 1000, "[generate] ", sampling_steps,
                " steps were asked for; use 1 to 1000");
  MONARCH_CHECK(sample_solver == "unipc" || sample_solver == "dpm++" || sample_solver == "euler",
                "[generate] unknown solver '", sample_solver, "'; use unipc, dpm++ or euler");
  MONARCH_CHECK(frames_per_second > 0 && frames_per_second <= 240, "[generate] fps ",
                frames_per_second, " is out of range; use 1 to 240");
  for (const auto& [key, value] :
       {std::pair{"sample_shift", sample_shift}, {"timestep_shift", timestep_shift}}) {
    MONARCH_CHECK(std::isfinite(value) && value > 0, "[generate] ", key, " is ", value,
                  "; a positive number was expected (5 or 8 are usual)");
  }
  MONARCH_CHECK(std::isfinite(guidance_scale), "[generate] the guidance scale is ", guidance_scale,
                "; a number was expected (1 switches guidance off)");
  MONARCH_CHECK(context_noise >= 0 && context_noise <= 1000, "[generate] context_noise is ",
                context_noise, "; a timestep of 0 to 1000 was expected");
  MONARCH_CHECK(num_frame_per_block >= 1, "[generate] num_frame_per_block is ", num_frame_per_block,
                "; it must be at least 1 (3 is usual)");
  MONARCH_CHECK(local_attn_size == -1 || local_attn_size >= num_frame_per_block,
                "[generate] local_attn_size is ", local_attn_size,
                "; -1 (all frames) or at least num_frame_per_block ", num_frame_per_block,
                " was expected");
  MONARCH_CHECK(sink_size >= 0, "[generate] sink_size is ", sink_size, "; it cannot be negative");
  const std::int64_t rows = height / patch_height;
  const std::int64_t columns = width / patch_width;
  const std::int64_t frames = num_latent_frames();
  if (causal) {
    const std::int64_t single = independent_first_frame ? 1 : 0;
    const std::int64_t chunks = (frames - single) / num_frame_per_block;
    const auto pixel_frames = [&](std::int64_t n) {
      return 4 * (n * num_frame_per_block + single) - 3;
    };
    MONARCH_CHECK((frames - single) % num_frame_per_block == 0, "[generate] ", frames,
                  " latent frames (", num_frames, " frames) do not divide into ",
                  single == 1 ? "one frame and " : "", "chunks of ", num_frame_per_block, "; use ",
                  pixel_frames(chunks) > 0 ? str_cat(pixel_frames(chunks), " or ") : "",
                  pixel_frames(chunks + 1), " frames");
  }
  const auto check_monarch = [&](const ops::MonarchOptions& tiling) {
    const std::int64_t pass = causal ? num_frame_per_block : frames;
    check_divides("[generate] ", causal ? "num_frame_per_block" : "the number of latent frames",
                  pass, "f_tied", tiling.f_tied);
    ops::blocks_of({pass, rows, columns}, tiling);
  };
  const auto check_vmonarch = [&](const ops::VMonarchOptions& factors) {
    MONARCH_CHECK(!causal,
                  "[generate] vmonarch factorises the whole video at once and cannot run with a KV "
                  "cache; use "
                  "--attention monarchrt or dense with causal models");
    check_divides("[generate] ", "the number of latent frames", frames, "frames_per_factor",
                  factors.frames_per_factor);
  };
  if (attention == AttentionPreset::kMonarchRt) check_monarch(monarch);
  if (attention == AttentionPreset::kVMonarch) check_vmonarch(vmonarch);
  for (const models::AttentionRule& rule : attention_rules) {
    if (rule.attention.kind == models::AttentionKind::kMonarch)
      check_monarch(rule.attention.monarch);
    if (rule.attention.kind == models::AttentionKind::kVMonarch)
      check_vmonarch(rule.attention.vmonarch);
  }
}

}  // namespace monarch::pipelines
