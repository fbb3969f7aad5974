// The command line of `monarch generate`: our flags, and the originals' under their own names.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "monarch/pipelines/generation_options.h"

namespace monarch::apps {

struct GenerateArguments {
  // what to make
  std::string prompt, prompt_file, extended_prompt_file, negative_prompt;
  bool has_prompt = false, has_negative_prompt = false;
  std::string image, video;  // what the video begins with
  std::string output, output_folder;
  bool save_with_index = false;
  std::uint64_t seed = 0;
  std::int64_t num_samples = 1;
  std::optional<std::int64_t> frames, latent_frames;
  std::string size;

  // with what
  std::string model, checkpoint, config;
  bool use_ema = false;
  std::string attention;
  std::optional<std::int64_t> f_tied, h_reduce, w_reduce, iterations;
  std::optional<std::int64_t> steps;
  std::optional<double> guidance;
  std::string solver;
  std::string dtype, device = "cpu";  // no dtype: f32, on a GPU bf16
  std::int64_t threads = 0;
  bool low_memory = false;
  std::uint64_t vram = 0;                   // bytes of the GPU's memory that may be used; 0: all
  std::int64_t sequence_parallel_size = 1;  // processes that make every video together

  // intermediate results
  std::string embeddings, save_embeddings, latents, save_latents;

  bool originals_command_line =
      false;  // --data_path or --output_folder: naming and seeding as there
  bool i2v = false;
  bool dry_run = false, json = false, verbose = false;
};

void add_generate_flags(CLI::App& command, GenerateArguments& arguments);
// --sequence-parallel-size alone.
void add_sequence_flag(CLI::App& command, GenerateArguments& arguments);

// Throws unless exactly one source of prompts, or latents, is given.
void check_prompts(const GenerateArguments& arguments);

// Checks what flags say together and reads the settings: the model folder's own, then
// --config (merged over a default_config.yaml beside it), then the flags.
pipelines::GenerationOptions resolve_options(const GenerateArguments& arguments);

// The model folder: --model, or for a configuration of the originals wan_models/<model_name>, or
// models/shapes_stream.
std::string resolve_model(const GenerateArguments& arguments);

struct PromptItem {
  std::int64_t index = 0;  // line of the prompt file
  std::string prompt;      // names the file
  std::string text;        // what is encoded: the extended prompt if there is one
};

// All prompts of this process: with RANK and WORLD_SIZE (torchrun) or SLURM_PROCID and SLURM_NTASKS
// set, every WORLD_SIZE-th one, unless the processes make every video together.
std::vector<PromptItem> read_prompt_items(const GenerateArguments& arguments);

// Rank of this process among those that share a prompt file; 0 of 1 alone, and for processes that
// make every video together.
struct ProcessRank {
  std::int64_t rank = 0, world_size = 1;
};
ProcessRank process_rank(const GenerateArguments& arguments);

}  // namespace monarch::apps
