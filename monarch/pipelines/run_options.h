// The settings of a run from files, and as a file.
#pragma once

#include <filesystem>
#include <string>

#include "monarch/pipelines/generation_options.h"

namespace monarch::pipelines {

// A configuration file, over the default_config.yaml beside it if there is one. Throws what
// io::read_yaml throws.
Json read_run_config(const std::filesystem::path& file);

// The folder of a model that a configuration names: wan_models/NAME, or NAME itself. Throws
// kNotFound naming both.
std::filesystem::path named_model(const std::string& name);

// default_options(folder), then the configuration file, if one is given.
GenerationOptions run_options(const std::filesystem::path& folder,
                              const std::filesystem::path& config_file);

// The keys of docs/configuration.md that matter in the options' mode: apply() of them on default
// options gives the same runs.
Json settings_of(const GenerationOptions& options);

}  // namespace monarch::pipelines
