#include "monarch/training/stage_config.h"

#include "monarch/io/yaml.h"

namespace monarch::training {
namespace {

void read_path(OptionsReader& reader, const std::string& key, std::filesystem::path& path) {
  std::string text;
  if (reader.read(key, text)) path = text;
}

}  // namespace

bool is_stage_config(const std::filesystem::path& file) {
  const Json json = io::read_yaml(file);
  return json.is_object() && json.value("trainer", Json()) == "shapes";
}

StageConfig stage_config_from_json(const Json& json, const std::string& where) {
  StageConfig config;
  ShapesStageOptions& options = config.options;
  OptionsReader reader(json, where);
  reader.accept("trainer");
  reader.read("stage", config.stage);
  read_path(reader, "logdir", options.out);
  reader.read("num_training_iters", options.steps);
  reader.read("batch_size", options.batch);
  reader.read("lr", options.lr);
  reader.read("decay_from", options.decay_from);
  reader.read("workers", options.workers);
  reader.read("mixed_precision", options.mixed_precision);
  reader.read("seed", options.seed);
  reader.read("decoder_only", options.decoder_only);
  reader.read("latent_noise", options.latent_noise);
  reader.read("kind_weight", options.kind_weight);
  reader.read("kind_noise", options.kind_noise);
  reader.read("crop", options.crop);
  reader.read("num_frames", options.frames);
  reader.read("width", options.width);
  reader.read("height", options.height);
  reader.read("monarch", options.monarch);
  reader.read("timestep_shift", options.shift);
  reader.read("num_videos", options.pool);
  reader.read("num_images", options.image_pool);
  reader.read("image_iters", options.image_steps);
  reader.read("clip_iters", options.clip_steps);
  reader.read("image_every", options.image_every);
  read_path(reader, "generator_ckpt", options.init);
  read_path(reader, "model_name", options.base);
  read_path(reader, "export_to", config.model);
  reader.finish();
  check_stage(config.stage, options);
  return config;
}

StageConfig load_stage_config(const std::filesystem::path& file) {
  return stage_config_from_json(io::read_yaml(file), file.filename().string());
}

void check_stage(const std::string& stage, const ShapesStageOptions& options) {
  MONARCH_CHECK(stage == "tokenizer" || stage == "text" || stage == "vae" || stage == "dit" ||
                    stage == "export",
                "[train] the stage is '", stage, "'; use tokenizer, text, vae, dit or export");
  MONARCH_CHECK(options.width > 0 && options.width % 16 == 0 && options.height > 0 &&
                    options.height % 16 == 0,
                "[train] videos of ", options.width, "x", options.height,
                " pixels; multiples of 16 (256x160, say) were expected");
  MONARCH_CHECK(options.frames >= 1 && options.frames % 4 == 1, "[train] ", options.frames,
                " frames; 1 + 4n (21, say) were expected");
  MONARCH_CHECK(options.image_every >= 0, "[train] one step of ", options.image_every,
                " on images; 0 (none) or more was expected");
  MONARCH_CHECK(options.kind_weight >= 0 && options.kind_noise >= 0, "[train] kind_weight ",
                options.kind_weight, " and kind_noise ", options.kind_noise,
                "; 0 or more was expected of both");
}

}  // namespace monarch::training
