// `monarch convert` to LMDB: videos, shapes scenes or other LMDB data to latents with prompts.
#pragma once

#include <cstdint>
#include <string>

#include "apps/command.h"

namespace monarch::apps {

struct ConvertLatentsArguments {
  std::string model, size, prompts;  // no model: the shapes model
  std::int64_t frames = 81, shards = 1;
  std::uint64_t seed = 1;
};

void add_convert_latents_flags(CLI::App& command, ConvertLatentsArguments& arguments);

// Whether the output means latents: a name that ends in .mdb, or --shards was given.
bool wants_latents(const std::string& output, const ConvertLatentsArguments& arguments);

void convert_latents(const std::string& input, const std::string& output,
                     const ConvertLatentsArguments& arguments);

}  // namespace monarch::apps
