#include "apps/generate/arguments.h"

#include <charconv>
#include <cstdlib>

#include "apps/shipped.h"
#include "apps/solver_flags.h"
#include "monarch/base/error.h"
#include "monarch/io/prompts.h"
#include "monarch/io/yaml.h"
#include "monarch/pipelines/run_options.h"

namespace monarch::apps {
namespace {

std::int64_t environment_number(const char* name, std::int64_t fallback) {
  const char* text = std::getenv(name);
  if (text == nullptr) return fallback;
  const std::string_view view = text;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  MONARCH_CHECK(error == std::errc() && end == view.data() + view.size() && value >= 0,
                "[generate] the environment has ", name, "='", view, "', which is not a number");
  return value;
}

// "256x160" -> width, height.
std::pair<std::int64_t, std::int64_t> parse_size(const std::string& text) {
  std::int64_t width = 0;
  std::int64_t height = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, width);
  bool good =
      first.ec == std::errc() && first.ptr != end && (*first.ptr == 'x' || *first.ptr == '*');
  if (good) {
    const auto second = std::from_chars(first.ptr + 1, end, height);
    good = second.ec == std::errc() && second.ptr == end;
  }
  MONARCH_CHECK(good && width > 0 && height > 0 && width <= 8192 && height <= 8192,
                "[generate] --size ", text, " is not WIDTHxHEIGHT; for example 832x480");
  return {width, height};
}

bool blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

void check_combinations(const GenerateArguments& a) {
  MONARCH_CHECK(a.extended_prompt_file.empty() || !a.prompt_file.empty(),
                "[generate] --extended-prompt-file needs --prompt-file, whose lines it extends");
  MONARCH_CHECK(a.output.empty() || a.output_folder.empty(),
                "[generate] give --output or --output-folder, not both");
  MONARCH_CHECK(a.image.empty() || a.video.empty(), "[generate] give --image or --video, not both");
  MONARCH_CHECK(!a.i2v || !a.image.empty(), "[generate] --i2v needs --image FILE, the first frame");
  MONARCH_CHECK(!(a.frames && a.latent_frames),
                "[generate] give --frames or --num_output_frames, not both");
  MONARCH_CHECK(!a.latent_frames || (*a.latent_frames >= 1 && *a.latent_frames <= 250'000),
                "[generate] --num_output_frames ", a.latent_frames.value_or(0),
                " is out of range; use 1 to 250000 latent frames (21 are 81 frames)");
  MONARCH_CHECK(a.num_samples >= 1 && a.num_samples <= 1024, "[generate] --num-samples ",
                a.num_samples, " is out of range; use 1 to 1024");
  MONARCH_CHECK(a.threads >= 0 && a.threads <= 1024, "[generate] --threads ", a.threads,
                " is out of range; use 1 to 1024, or leave it out for all cores");
  MONARCH_CHECK(a.sequence_parallel_size == 1 || a.latents.empty(),
                "[generate] --sequence-parallel-size has no meaning with --latents, which one "
                "process decodes");
  const bool numbers = a.f_tied || a.h_reduce || a.w_reduce || a.iterations;
  MONARCH_CHECK(!numbers || a.attention != "dense",
                "[generate] --f-tied, --h-reduce, --w-reduce and --iterations have no meaning with "
                "--attention dense");
}

Json flags_as_config(const GenerateArguments& a) {
  Json config = Json::object();
  if (!a.size.empty()) std::tie(config["width"], config["height"]) = parse_size(a.size);
  if (a.frames) config["num_frames"] = *a.frames;
  if (a.latent_frames) config["num_frames"] = 4 * *a.latent_frames - 3;
  if (a.steps) config["sampling_steps"] = *a.steps;
  if (a.guidance) config["guidance_scale"] = *a.guidance;
  if (!a.solver.empty()) config["sample_solver"] = a.solver;
  if (a.has_negative_prompt) config["negative_prompt"] = a.negative_prompt;
  return config;
}

void apply_attention(const GenerateArguments& a, pipelines::GenerationOptions& options) {
  if (!a.attention.empty()) {  // for all layers, heads and steps
    options.attention = pipelines::parse_attention_preset(a.attention);
    options.attention_rules.clear();
  }
  if (a.f_tied || a.h_reduce || a.w_reduce) {
    MONARCH_CHECK(options.attention == pipelines::AttentionPreset::kMonarchRt,
                  "[generate] --f-tied, --h-reduce and --w-reduce need --attention monarchrt");
  }
  for (const auto& [given, value, name] :
       {std::tuple{a.f_tied, &options.monarch.f_tied, "--f-tied"},
        {a.h_reduce, &options.monarch.h_reduce, "--h-reduce"},
        {a.w_reduce, &options.monarch.w_reduce, "--w-reduce"}}) {
    if (!given) continue;
    MONARCH_CHECK(*given >= 1, "[generate] ", name, " must be at least 1, but is ", *given);
    *value = *given;
  }
  if (a.iterations) {
    MONARCH_CHECK(*a.iterations >= 1 && *a.iterations <= 64, "[generate] --iterations ",
                  *a.iterations, " is out of range; use 1 to 64");
    options.monarch.num_iters = options.vmonarch.num_iters = *a.iterations;
  }
}

}  // namespace

void check_prompts(const GenerateArguments& a) {
  MONARCH_CHECK(!(a.has_prompt && !a.prompt_file.empty()),
                "[generate] give --prompt or --prompt-file, not both");
  MONARCH_CHECK(a.has_prompt || !a.prompt_file.empty() || !a.latents.empty(),
                "[generate] there is nothing to show; give --prompt TEXT or --prompt-file FILE");
  MONARCH_CHECK(!a.has_prompt || !blank(a.prompt),
                "[generate] the prompt is empty; say what the video shows");
}

void add_sequence_flag(CLI::App& command, GenerateArguments& a) {
  command
      .add_option("--sequence-parallel-size,--sequence_parallel_size", a.sequence_parallel_size,
                  "processes (torchrun, Slurm, MPI) that make every video together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

void add_generate_flags(CLI::App& command, GenerateArguments& a) {
  // Help shows what was added since the last call under one heading.
  auto heading = [&command, done = command.get_options().size()](const char* name) mutable {
    const auto options = command.get_options();
    for (; done < options.size(); ++done) options[done]->group(name);
  };
  command.add_option("--prompt,-p", a.prompt, "what the video shows")
      ->each([&a](const std::string&) { a.has_prompt = true; });
  command.add_option("--prompt-file,--data_path", a.prompt_file, "a text file, one prompt a line");
  command.add_option("--extended-prompt-file,--extended_prompt_path", a.extended_prompt_file,
                     "longer forms of the prompts, line by line");
  command.add_option("--negative-prompt", a.negative_prompt, "what it should not show")
      ->each([&a](const std::string&) { a.has_negative_prompt = true; });
  command.add_option(
      "--output,-o", a.output,
      "NAME.mp4, NAME.gif, a folder for PNG frames, or FOLDER/ for videos named after "
      "their prompts (default: video.mp4)");
  command.add_option("--output-folder,--output_folder", a.output_folder,
                     "folder for many videos, named after their prompts");
  command.add_flag("--save-with-index,--save_with_index", a.save_with_index,
                   "name files by the prompt's line instead");
  command.add_option("--seed", a.seed, "seed of the noise")->capture_default_str();
  command
      .add_option("--num-samples,--num_samples", a.num_samples, "videos a prompt, made together")
      ->capture_default_str();
  command.add_option("--frames", a.frames, "pixel frames, one more than a multiple of 4");
  command.add_option("--num-output-frames,--num_output_frames", a.latent_frames,
                     "latent frames (4 pixel frames each but the first)");
  command.add_option("--size", a.size, "WIDTHxHEIGHT in pixels");
  command.add_option("--image", a.image, "first frame (causal models)");
  command.add_option("--video", a.video, "video to continue (causal models)");
  command.add_flag("--i2v", a.i2v, "image to video: start from --image");
  heading("What to make");

  command.add_option("--model", a.model,
                     "a folder of Wan or of diffusers (default: models/shapes_stream)");
  command.add_option("--checkpoint,--checkpoint_path", a.checkpoint,
                     "a trained generator (.pt, .safetensors) in the place of the folder's");
  command.add_flag("--use-ema,--use_ema", a.use_ema, "take its averaged weights");
  command.add_option("--config,--config_path", a.config,
                     "YAML settings; the originals' keys are understood");
  heading("With what");

  command.add_option("--attention", a.attention,
                     "dense, monarchrt or vmonarch, in the place of all `attention` rules");
  command.add_option("--f-tied", a.f_tied, "monarchrt: latent frames that share a block");
  command.add_option("--h-reduce", a.h_reduce, "monarchrt: bands of token rows");
  command.add_option("--w-reduce", a.w_reduce, "monarchrt: bands of token columns");
  command.add_option("--iterations", a.iterations,
                     "monarchrt, vmonarch: refinements of the factors");
  heading("Attention");

  command.add_option("--steps", a.steps, "denoising steps of the many-step solvers");
  command.add_option("--solver", a.solver, "unipc, dpm++ or euler");
  command.add_option("--guidance", a.guidance, "guidance scale; 1 switches it off");
  heading("Sampling");

  command.add_option("--dtype", a.dtype, "f32, bf16 or f16 (default: f32, on a GPU bf16)")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  command.add_option("--device", a.device, "cpu, cuda, or cuda:N of several")
      ->capture_default_str();
  command.add_option("--threads", a.threads, "CPU threads (default: all cores)");
  command.add_flag("--low-memory", a.low_memory,
                   "load each network for its stage only, weights as stored");
  command
      .add_option(
          "--vram", a.vram,
          "memory of the GPU to use, for example 8GiB: what does not fit is freed, streamed "
          "or left to the CPU")
      ->transform(CLI::AsSizeValue(false));
  add_sequence_flag(command, a);
  heading("Machine");

  command.add_option("--embeddings", a.embeddings,
                     "text embeddings saved earlier, instead of the text encoder");
  command.add_option("--save-embeddings", a.save_embeddings, "save the text embeddings here");
  command.add_option("--latents", a.latents, "decode latents saved earlier");
  command.add_option("--save-latents", a.save_latents, "keep the latents here");
  heading("Intermediate results");

  command.add_flag("--dry-run", a.dry_run, "print expected memory and time, make nothing");
  command.add_flag("--json", a.json, "one JSON object a video on standard output");
  command.add_flag("--verbose,-v", a.verbose, "say what runs");
  heading("Output");
  command.footer(
      "Examples:\n"
      "  monarch generate --prompt \"a red circle moving right\" --output circle.mp4\n"
      "  monarch generate --model wan_models/Wan2.1-T2V-1.3B --prompt \"a cat on a skateboard\" "
      "--size 832x480 --frames 81 \\\n"
      "      --attention monarchrt --low-memory\n"
      "  monarch generate --config_path configs/self_forcing_monarch_dmd.yaml --checkpoint_path "
      "model.pt --use_ema \\\n"
      "      --data_path prompts.txt --output_folder videos");
}

std::string resolve_model(const GenerateArguments& a) {
  if (!a.model.empty()) return a.model;
  if (a.config.empty()) return shipped_path(kStreamModel);
  const Json config = io::read_yaml(a.config);
  std::string name = "Wan2.1-T2V-1.3B";
  if (config.contains("model_kwargs") && config["model_kwargs"].contains("model_name")) {
    name = config["model_kwargs"]["model_name"].get<std::string>();
  }
  return pipelines::named_model(name).string();
}

pipelines::GenerationOptions resolve_options(const GenerateArguments& a) {
  check_combinations(a);
  pipelines::GenerationOptions options = pipelines::run_options(resolve_model(a), a.config);
  options.apply(flags_as_config(a), "the command line");
  apply_attention(a, options);
  // The single latent frame of an image is a chunk of its own.
  if (!a.image.empty()) options.independent_first_frame = true;
  check_solver_flags("generate", options,
                     {{"--steps", a.steps.has_value()},
                      {"--guidance", a.guidance.value_or(1) != 1},
                      {"--negative-prompt", a.has_negative_prompt},
                      {"--solver", !a.solver.empty()}});
  return options;
}

ProcessRank process_rank(const GenerateArguments& a) {
  ProcessRank result;
  if (a.sequence_parallel_size > 1) return result;
  result.world_size = environment_number("WORLD_SIZE", environment_number("SLURM_NTASKS", 1));
  result.rank = environment_number("RANK", environment_number("SLURM_PROCID", 0));
  MONARCH_CHECK(result.world_size >= 1 && result.rank < result.world_size,
                "[generate] the environment gives rank ", result.rank, " of ", result.world_size,
                " processes");
  return result;
}

std::vector<PromptItem> read_prompt_items(const GenerateArguments& a) {
  if (a.has_prompt) return {{0, a.prompt, a.prompt}};
  if (a.prompt_file.empty()) return {};
  const std::vector<std::string> prompts = io::read_prompts(a.prompt_file);
  std::vector<std::string> extended = prompts;
  if (!a.extended_prompt_file.empty()) {
    extended = io::read_prompts(a.extended_prompt_file);
    MONARCH_CHECK(extended.size() == prompts.size(), "[generate] ", a.extended_prompt_file, " has ",
                  extended.size(), " lines, ", a.prompt_file, " has ", prompts.size(),
                  "; both need one line a prompt");
  }
  const ProcessRank process = process_rank(a);
  std::vector<PromptItem> items;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (blank(extended[i])) continue;
    if (static_cast<std::int64_t>(i) % process.world_size == process.rank) {
      items.push_back({static_cast<std::int64_t>(i), prompts[i], extended[i]});
    }
  }
  MONARCH_CHECK(!items.empty() || process.world_size > 1, "[generate] ", a.prompt_file,
                " holds no prompt; write one a line");
  return items;
}

}  // namespace monarch::apps
