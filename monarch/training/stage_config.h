// Configuration of a stage of the shapes model (shapes_stages.h) in the form of the recipes': YAML
// with `trainer: shapes`.
#pragma once

#include <filesystem>
#include <string>

#include "monarch/base/options_reader.h"
#include "monarch/training/shapes_stages.h"

namespace monarch::training {

struct StageConfig {
  std::string stage;  // tokenizer, text, vae, dit or export
  ShapesStageOptions options;
  std::filesystem::path model = "models/shapes";  // export: the folder to write
};

// Whether the file's trainer is a stage of the shapes model.
bool is_stage_config(const std::filesystem::path& file);

// Throws one clear error for unknown keys, wrong types and values that no stage takes.
StageConfig load_stage_config(const std::filesystem::path& file);

// The same of parsed keys; `where` names them in errors.
StageConfig stage_config_from_json(const Json& json, const std::string& where);

// Throws unless `stage` is one and sizes are such that the model takes.
void check_stage(const std::string& stage, const ShapesStageOptions& options);

}  // namespace monarch::training
