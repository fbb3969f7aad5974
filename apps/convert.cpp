// monarch convert: checkpoints between torch files and safetensors, and between floating types;
// what was trained to model folders; videos to latents.
#include <iostream>
#include <memory>
#include <optional>

#include "apps/command.h"
#include "apps/convert_latents.h"
#include "apps/convert_model.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/io/convert.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::apps {
namespace {

struct ConvertArguments {
  std::string input, output, dtype, group;
  bool wan_names = false;
  std::string config;
  bool use_ema = false;
  ConvertLatentsArguments latents;
};

// Names without `group.`, and "" (left out) for tensors outside of it.
std::map<std::string, std::string> renaming(const io::Checkpoint& checkpoint,
                                            const ConvertArguments& arguments) {
  std::map<std::string, std::string> rename;
  const std::string prefix = arguments.group.empty() ? "" : arguments.group + ".";
  std::vector<std::string> inside;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    const bool in_group = tensor.name.starts_with(prefix);
    rename[tensor.name] = in_group ? tensor.name.substr(prefix.size()) : "";
    if (in_group) inside.push_back(rename[tensor.name]);
  }
  MONARCH_CHECK(!inside.empty(), "[monarch_apps] ", arguments.input, " has no tensors in ",
                arguments.group, "; see monarch inspect ", arguments.input);
  if (arguments.wan_names) {
    const auto wan = models::wan_names(inside);
    for (auto& [stored, name] : rename) {
      if (!name.empty()) name = wan.at(name);
    }
  }
  return rename;
}

void convert(const ConvertArguments& arguments) {
  if (wants_latents(arguments.output, arguments.latents))
    return convert_latents(arguments.input, arguments.output, arguments.latents);
  if (!arguments.config.empty()) {
    return convert_model(arguments.input, arguments.output,
                         {.config = arguments.config,
                          .model = arguments.latents.model,
                          .dtype = arguments.dtype,
                          .use_ema = arguments.use_ema});
  }
  const Timer timer;
  const auto checkpoint = io::open_checkpoint(arguments.input);
  io::ConvertOptions options;
  if (!arguments.dtype.empty()) {
    options.dtype = parse_dtype(arguments.dtype);
    MONARCH_CHECK(options.dtype.has_value(), "[monarch_apps] unknown --dtype ", arguments.dtype,
                  "; use float32, bfloat16, float16 or float64");
  }
  if (arguments.wan_names || !arguments.group.empty()) {
    options.rename = renaming(*checkpoint, arguments);
  }
  io::convert_checkpoint(*checkpoint, arguments.output, options);
  std::cout << arguments.output << ": "
            << format_bytes(std::filesystem::file_size(arguments.output)) << " in "
            << format_duration(timer.seconds()) << "\n";
}

}  // namespace

void add_convert(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand(
      "convert",
      "turn a checkpoint into .safetensors, .pt, .pth or a model folder, or videos into latents");
  command
      ->add_option("input", arguments->input,
                   "a checkpoint, or a folder of shards; a folder of videos, an LMDB, or shapes:N")
      ->required();
  command
      ->add_option("output", arguments->output,
                   "its extension decides the format; a folder with --config or --shards")
      ->required();
  command->add_option("--dtype", arguments->dtype, "float32, bfloat16, float16 or float64");
  command->add_option("--group", arguments->group,
                      "only the tensors of one dictionary, for instance generator_ema");
  command->add_flag("--wan-names", arguments->wan_names,
                    "translate diffusers and transformers names, strip wrappers");
  CLI::Option* config = command->add_option(
      "--config", arguments->config,
      "write a model folder that generates and streams as this run's configuration says");
  command->add_flag("--use-ema,--use_ema", arguments->use_ema, "with --config: averaged weights")
      ->needs(config);
  add_convert_latents_flags(*command, arguments->latents);
  command->footer(
      "Examples:\n"
      "  monarch convert self_forcing_dmd.pt out.safetensors --group "
      "generator_ema --wan-names --dtype bfloat16\n"
      "  monarch convert logs/dmd/checkpoint_model_000600 student --config "
      "configs/self_forcing_monarch_dmd.yaml --use-ema --dtype bfloat16\n"
      "  monarch convert videos latents --shards 16 --model wan_models/Wan2.1-T2V-1.3B");
  command->callback([arguments] { convert(*arguments); });
}

}  // namespace monarch::apps
