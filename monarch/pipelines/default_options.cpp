#include "monarch/pipelines/default_options.h"

#include <utility>

#include "monarch/io/yaml.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/model_folder.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

void take_transformer_settings(const models::ModelFolder& model, const fs::path& folder,
                               GenerationOptions& options) {
  const Json& json = model.transformer_config;
  const models::WanConfig config =
      models::WanConfig::from_json(json, (folder / model.transformer_config_file()).string());
  if (config.monarch.enable) options.attention = AttentionPreset::kMonarchRt;
  if (!config.monarch.enable && config.vmonarch) options.attention = AttentionPreset::kVMonarch;
  options.monarch = config.monarch;
  options.vmonarch = config.vmonarch.value_or(options.vmonarch);
  options.attention_rules = config.attention;
  // Those that the file names: the defaults of options need not be those of WanConfig.
  const auto take = [&](const char* key, auto& option, const auto& value) {
    if (json.contains(key)) option = value;
  };
  take("num_frame_per_block", options.num_frame_per_block, config.num_frame_per_block);
  take("independent_first_frame", options.independent_first_frame, config.independent_first_frame);
  take("local_attn_size", options.local_attn_size, config.local_attn_size);
  take("sink_size", options.sink_size, config.sink_size);
  take("relative_sink", options.relative_sink, config.relative_sink);
}

}  // namespace

GenerationOptions default_options(const fs::path& folder) {
  GenerationOptions options;
  take_transformer_settings(models::find_model(folder, /*need_transformer=*/false), folder,
                            options);
  const fs::path own = folder / "generate.yaml";
  if (fs::exists(own)) options.apply(io::read_yaml(own), own.string());
  return options;
}

}  // namespace monarch::pipelines
