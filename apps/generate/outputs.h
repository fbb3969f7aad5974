// Where a run's files go, and whether they can go there.
#pragma once

#include <filesystem>
#include <vector>

#include "apps/generate/arguments.h"

namespace monarch::apps {

// One file or folder for each sample of the prompt.
std::vector<std::filesystem::path> output_paths(const GenerateArguments& arguments,
                                                const PromptItem& item, bool single_prompt);

// Fails before any work if an output cannot be written; makes missing folders, leaves nothing else.
void check_outputs(const GenerateArguments& arguments, const std::vector<PromptItem>& items,
                   const pipelines::GenerationOptions& options, bool gpu_encoder);

}  // namespace monarch::apps
