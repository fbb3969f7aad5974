#include "monarch/pipelines/run_options.h"

#include <algorithm>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/yaml.h"
#include "monarch/ops/options_json.h"
#include "monarch/pipelines/default_options.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

// "0-4, 7" as a list.
Json index_list(const models::IndexSet& set) {
  Json list = Json::array();
  const std::string text = set.text();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(", ", begin), text.size());
    list.push_back(text.substr(begin, end - begin));
    begin = end + 2;
  }
  return list;
}

Json rule_json(const models::AttentionRule& rule) {
  Json json = Json::object();
  switch (rule.attention.kind) {
    case models::AttentionKind::kDense: json["preset"] = "dense"; break;
    case models::AttentionKind::kMonarch:
      json = ops::as_json(rule.attention.monarch);
      json.erase("enable");
      json["preset"] = "monarchrt";
      break;
    case models::AttentionKind::kVMonarch:
      json = ops::as_json(rule.attention.vmonarch);
      json["preset"] = "vmonarch";
      break;
  }
  for (const auto& [key, set] : {std::pair{"layers", &rule.layers},
                                 {"heads", &rule.heads},
                                 {"steps", &rule.steps},
                                 {"chunks", &rule.chunks}}) {
    if (!set->all()) json[key] = index_list(*set);
  }
  return json;
}

void add_attention(const GenerationOptions& options, Json& settings) {
  Json monarch{{"enable", false}};
  if (options.attention == AttentionPreset::kMonarchRt) {
    monarch = ops::as_json(options.monarch);
    monarch["enable"] = true;
  }
  settings["monarch_args"] = monarch;
  if (options.attention == AttentionPreset::kVMonarch)
    settings["vmonarch_args"] = ops::as_json(options.vmonarch);
  settings["attention"] = Json::array();
  for (const models::AttentionRule& rule : options.attention_rules)
    settings["attention"].push_back(rule_json(rule));
}

}  // namespace

Json read_run_config(const fs::path& file) {
  const fs::path defaults = file.parent_path() / "default_config.yaml";
  Json config = io::read_yaml(file);
  return fs::exists(defaults) ? io::deep_merge(io::read_yaml(defaults), config) : config;
}

fs::path named_model(const std::string& name) {
  const fs::path usual = fs::path("wan_models") / name;
  if (fs::is_directory(usual)) return usual;
  MONARCH_CHECK_CODE(fs::is_directory(name), kNotFound, "[monarch_pipelines] there is no model '",
                     name, "': neither ", usual.string(), " nor ", name,
                     " is a folder; download it, or name another in the configuration");
  return name;
}

GenerationOptions run_options(const fs::path& folder, const fs::path& config_file) {
  GenerationOptions options = default_options(folder);
  if (!config_file.empty()) options.apply(read_run_config(config_file), config_file.string());
  return options;
}

Json settings_of(const GenerationOptions& options) {
  Json settings{{"width", options.width},           {"height", options.height},
                {"num_frames", options.num_frames}, {"fps", options.frames_per_second},
                {"causal", options.causal},         {"model_kwargs", Json::object()}};
  if (options.denoising_step_list.empty()) {
    settings["negative_prompt"] = options.negative_prompt;
    settings["guidance_scale"] = options.guidance_scale;
    settings["sample_solver"] = options.sample_solver;
    settings["sampling_steps"] = options.sampling_steps;
    settings["sample_shift"] = options.sample_shift;
  } else {
    settings["denoising_step_list"] = options.denoising_step_list;
    settings["warp_denoising_step"] = options.warp_denoising_step;
    settings["model_kwargs"]["timestep_shift"] = options.timestep_shift;
  }
  if (options.causal) {
    settings["num_frame_per_block"] = options.num_frame_per_block;
    settings["independent_first_frame"] = options.independent_first_frame;
    settings["context_noise"] = options.context_noise;
    settings["model_kwargs"]["local_attn_size"] = options.local_attn_size;
    settings["model_kwargs"]["sink_size"] = options.sink_size;
    settings["model_kwargs"]["relative_sink"] = options.relative_sink;
  }
  add_attention(options, settings);
  return settings;
}

}  // namespace monarch::pipelines
