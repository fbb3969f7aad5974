// What a model folder says about its use.
#pragma once

#include <filesystem>

#include "monarch/pipelines/generation_options.h"

namespace monarch::pipelines {

// The settings of a run with the model in `folder` that asks for nothing else: attention and chunks
// as in its transformer's config.json, then everything in its generate.yaml, if it has one. Throws
// what models::find_model, WanConfig::from_json and GenerationOptions::apply throw.
GenerationOptions default_options(const std::filesystem::path& folder);

}  // namespace monarch::pipelines
