#include "monarch/training/shapes_stages.h"

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/io/sha256.h"
#include "monarch/models/wan/vae.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/recipes/shapes_dit.h"
#include "monarch/training/recipes/text.h"
#include "monarch/training/recipes/tokenizer.h"
#include "monarch/training/recipes/vae.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

const fs::path kTokenizer = fs::path("google") / "umt5-shapes" / "spiece.model";
const fs::path kVaeConfig = "vae_config.json";

// Where a model folder keeps the weights of a stage.
const char* file_of(const std::string& stage) {
  if (stage == "text") return "models_t5_umt5-shapes-enc.safetensors";
  return stage == "vae" ? "Wan2.1_VAE.safetensors" : "diffusion_pytorch_model.safetensors";
}

void need(const fs::path& file, const std::string& stage) {
  MONARCH_CHECK_CODE(fs::exists(file), kNotFound, "[monarch_training] ", file.string(),
                     " is missing; run --stage ", stage,
                     " with the same --out first, or name a trained model with --base");
}

// `name` in the working folder, or else in the base model.
fs::path find(const ShapesStageOptions& options, const fs::path& name, const std::string& stage) {
  if (!fs::exists(options.out / name) && !options.base.empty()) {
    need(options.base / name, stage);
    return options.base / name;
  }
  need(options.out / name, stage);
  return options.out / name;
}

// The averaged weights of a stage that was trained before, or those of the base model, in float32.
models::TensorMap trained(const ShapesStageOptions& options, const std::string& stage) {
  const fs::path state = options.out / (stage + ".state.safetensors");
  if (!fs::exists(state) && !options.base.empty()) {
    const fs::path file = options.base / file_of(stage);
    need(file, stage);
    return cast_tensors(load_tensors(file).tensors, at::kFloat);
  }
  need(state, stage);
  models::TensorMap average = take_prefix(load_tensors(state).tensors, "ema.");
  if (stage == "text") return encoder_parameters(average);
  return stage == "vae" ? without_probe(std::move(average)) : average;
}

// The probe that the VAE in the working folder was trained with, for latents as a denoiser has
// them.
KindProbe trained_probe(const ShapesStageOptions& options, const models::VaeConfig& vae) {
  const fs::path state = options.out / "vae.state.safetensors";
  KindProbe probe;
  if (fs::exists(state)) probe = find_probe(take_prefix(load_tensors(state).tensors, "ema."));
  MONARCH_CHECK(bool(probe), "[monarch_training] kind_weight ", options.kind_weight,
                " needs a probe, and there is none in ", state.string(),
                "; train --stage vae with --kind-weight and the same --out, or leave it at 0");
  return probe.of_normalised(vae.latent_mean, vae.latent_std);
}

// What --init names: `part` of a stage's state, or a stage of a model folder. Empty without --init.
models::TensorMap initial(const ShapesStageOptions& options, const std::string& stage,
                          const std::string& part) {
  if (options.init.empty()) return {};
  if (fs::is_directory(options.init))
    return cast_tensors(load_tensors(options.init / file_of(stage)).tensors, at::kFloat);
  return take_prefix(load_tensors(options.init).tensors, part);
}

// Settings of `monarch generate` for this model; commented, so text instead of a library's output.
std::string generate_yaml(const ShapesStageOptions& options) {
  return str_cat(
      "# What `monarch generate` does with this model unless told otherwise.\n",
      "width: ", options.width, "\nheight: ", options.height, "\nnum_frames: ", options.frames,
      "\nfps: 12\n", "negative_prompt: ''        # one caption of ten was empty in training\n",
      "guidance_scale: 3.0\nsample_solver: unipc\nsampling_steps: 20\nsample_shift: 4.0\n",
      "monarch_args: {enable: true, num_iters: 1, f_tied: 1, h_reduce: 1, w_reduce: 1}");
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text << '\n';
  file.flush();
  MONARCH_CHECK_CODE(file.good(), kIo, "[monarch_training] cannot write ", path.string());
}

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  return Json::parse(file);
}

TrainerOptions trainer_options(const ShapesStageOptions& options, int64_t steps, double lr) {
  TrainerOptions trainer;
  trainer.out = options.out;
  trainer.steps = options.steps > 0 ? options.steps : steps;
  trainer.lr = options.lr > 0 ? options.lr : lr;
  trainer.decay_from = options.decay_from;
  trainer.resume = options.resume;
  trainer.workers = options.workers;
  trainer.mixed_precision = options.mixed_precision;
  trainer.stop = options.stop;
  return trainer;
}

models::Umt5Config text_config(const models::Tokenizer& tokenizer) {
  models::Umt5Config config = shapes_umt5_config();
  config.vocab_size = tokenizer.vocab_size();
  return config;
}

models::Tokenizer open_tokenizer(const ShapesStageOptions& options) {
  return models::Tokenizer(find(options, kTokenizer, "tokenizer"), shapes_umt5_config().seq_len);
}

models::VaeConfig open_vae_config(const ShapesStageOptions& options) {
  return models::VaeConfig::from_json(read_json(find(options, kVaeConfig, "vae")));
}

// What latents depend on besides the videos: the VAE's encoder, not its decoder.
std::string encoder_digest(const models::VaeConfig& config, const models::TensorMap& parameters) {
  io::Sha256 hash;
  const auto add = [&](const void* data, std::size_t bytes) {
    hash.update({static_cast<const std::byte*>(data), bytes});
  };
  const std::string text = config.to_json().dump();
  add(text.data(), text.size());
  for (const auto& [name, tensor] : parameters) {
    if (!name.starts_with("encoder.") && !name.starts_with("conv1.")) continue;
    const at::Tensor values = tensor.contiguous();
    add(name.data(), name.size());
    add(values.data_ptr(), values.nbytes());
  }
  return hash.hex().substr(0, 16);
}

void copy_into(const fs::path& from, const fs::path& to) {
  if (fs::exists(to) && fs::equivalent(from, to)) return;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing);
}

}  // namespace

void train_tokenizer_stage(const ShapesStageOptions& options) {
  train_tokenizer(options.out / kTokenizer, {.seed = options.seed});
  log_info("tokenizer of ", open_tokenizer(options).vocab_size(), " pieces");
}

TrainingResult train_text_stage(const ShapesStageOptions& options) {
  TextRecipe recipe({.tokenizer = find(options, kTokenizer, "tokenizer"),
                     .umt5 = shapes_umt5_config(),
                     .batch = options.batch > 0 ? options.batch : 64,
                     .seed = options.seed});
  TrainerOptions trainer = trainer_options(options, 3200, 2e-3);
  trainer.ema_decay = 0.99;
  TrainingResult result = train(recipe, trainer);
  const ShapesOptions held_out{.two_shapes = 0.5F, .split = ShapesSplit::kHeldOut};
  for (const auto& [name, share] : recipe.accuracy(
           result.average, ShapesDataset(held_out, mix_seed(options.seed, 4242)), 1000)) {
    log_info("held-out captions, ", name, ": ", 100 * share, " % right");
  }
  return result;
}

TrainingResult train_vae_stage(const ShapesStageOptions& options) {
  MONARCH_CHECK(
      !options.decoder_only || !options.init.empty(),
      "[monarch_training] --decoder-only needs --init, the state or model whose encoder is kept");
  VaeRecipe recipe({.vae = {},
                    .batch = options.batch > 0 ? options.batch : 4,
                    .crop = options.crop,
                    .frames = options.frames,
                    .latent_noise = options.latent_noise,
                    .seed = options.seed,
                    .kind_weight = options.kind_weight,
                    .kind_noise = options.kind_noise,
                    .decoder_only = options.decoder_only},
                   initial(options, "vae", "ema."));
  TrainingResult result = train(recipe, trainer_options(options, 2000, 4e-3));
  if (options.decoder_only) return result;  // the latents are what they were
  if (options.kind_weight > 0) {
    log_info("kinds of shapes read off noisy latents: ",
             100 * recipe.kind_accuracy(result.average, 200), " % right");
  }
  const ShapesDataset data({.width = 160, .height = 96}, options.seed + 2);
  const LatentStatistics statistics =
      measure_latents({}, result.average, data, options.statistics_videos);
  models::VaeConfig config;
  config.dim = VaeClipConfig().dim;
  config.latent_mean = statistics.mean;
  config.latent_std = statistics.deviation;
  write_text(options.out / "vae_config.json", config.to_json().dump(2));
  return result;
}

TrainingResult train_dit_stage(const ShapesStageOptions& options) {
  const models::Tokenizer tokenizer = open_tokenizer(options);
  const models::Umt5Encoder text(text_config(tokenizer), trained(options, "text"));
  const models::VaeConfig vae_config = open_vae_config(options);
  const models::TensorMap vae_parameters = trained(options, "vae");
  const models::WanVae vae(vae_config, vae_parameters, models::VaePart::kEncoder);
  const std::string vae_digest = encoder_digest(vae_config, vae_parameters);
  const ShapesDataset data(
      {.width = options.width, .height = options.height, .frames = options.frames}, options.seed);
  // Of the first `frames` frames of as many videos.
  const auto pool = [&](int frames, int64_t count) {
    const std::string size = str_cat(options.width, "x", options.height, "x", options.frames);
    return std::make_unique<LatentPool>(
        options.out / str_cat("latents-", size, "-", frames, ".bin"),
        str_cat("shapes ", size, " seed ", options.seed, " vae ", vae_digest), data, count,
        std::vector<int64_t>{vae_config.z_dim, vae_config.num_latent_frames(frames),
                             options.height / 8, options.width / 8},
        [&vae, &data, frames](const ShapesScene& scene) {
          return vae.encode(data.clip(scene, 0, frames).unsqueeze(0))[0];
        });
  };
  const auto videos = pool(options.frames, options.pool);
  const auto images = pool(1, options.image_pool);
  ShapesDitOptions recipe_options{.model = shapes_wan_config(),
                                  .batch = options.batch > 0 ? options.batch : 16,
                                  .image_steps = options.image_steps,
                                  .clip_steps = options.clip_steps,
                                  .image_every = options.image_every,
                                  .shift = options.shift,
                                  .kind_weight = options.kind_weight,
                                  .seed = options.seed};
  if (options.kind_weight > 0) recipe_options.probe = trained_probe(options, vae_config);
  recipe_options.model.monarch.enable = options.monarch;
  ShapesDitRecipe recipe(recipe_options, *videos, *images, tokenizer, text,
                         initial(options, "dit", "param."));
  TrainerOptions trainer = trainer_options(options, 2200, 2e-3);
  trainer.ema_decay = 0.998;
  trainer.adamw.beta2 = 0.98;
  trainer.muon = [](const std::string& name) {
    return name.starts_with("blocks.") || name.starts_with("text_embedding.");
  };
  return train(recipe, trainer);
}

void export_shapes_model(const ShapesStageOptions& options, const fs::path& model) {
  const models::Tokenizer tokenizer = open_tokenizer(options);
  const models::Umt5Config text = text_config(tokenizer);
  const models::WanConfig transformer = shapes_wan_config();
  fs::create_directories((model / kTokenizer).parent_path());
  copy_into(find(options, kTokenizer, "tokenizer"), model / kTokenizer);
  copy_into(find(options, kVaeConfig, "vae"), model / kVaeConfig);
  for (const std::string stage : {"vae", "text", "dit"})
    save_tensors(model / file_of(stage), cast_tensors(trained(options, stage), at::kHalf));
  write_text(model / "generate.yaml", generate_yaml(options));
  write_text(model / "text_encoder_config.json", text.to_json().dump(2));
  write_text(model / "config.json", Json{{"_class_name", "WanModel"},
                                         {"model_type", transformer.model_type},
                                         {"dim", transformer.dim},
                                         {"ffn_dim", transformer.ffn_dim},
                                         {"freq_dim", transformer.freq_dim},
                                         {"text_dim", transformer.text_dim},
                                         {"text_len", transformer.text_len},
                                         {"in_dim", transformer.in_dim},
                                         {"out_dim", transformer.out_dim},
                                         {"num_heads", transformer.num_heads},
                                         {"num_layers", transformer.num_layers},
                                         {"eps", transformer.eps}}
                                        .dump(2));
}

}  // namespace monarch::training
