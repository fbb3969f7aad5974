#include "apps/convert_latents.h"

#include <charconv>
#include <filesystem>
#include <iostream>

#include "apps/progress.h"
#include "apps/shipped.h"
#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/pipelines/wan_system.h"
#include "monarch/training/data/encoded_videos.h"
#include "monarch/training/data/lmdb_latents.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kShapes = "shapes:";

std::int64_t parse_count(std::string_view text) {
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  MONARCH_CHECK(error == std::errc() && end == text.data() + text.size() && count > 0,
                "[convert] '", text, "' is not a number of videos; for example shapes:1000");
  return count;
}

training::VideoSize video_size(const ConvertLatentsArguments& a) {
  training::VideoSize size{.frames = a.frames};
  if (!a.size.empty()) {
    const std::size_t cross = a.size.find('x');
    MONARCH_CHECK(cross != std::string::npos, "[convert] --size ", a.size,
                  " is not WIDTHxHEIGHT; for example 832x480");
    size.width = parse_count(std::string_view(a.size).substr(0, cross));
    size.height = parse_count(std::string_view(a.size).substr(cross + 1));
  }
  return size;
}

void write_all(const training::LatentData& data, const std::string& output,
               const ConvertLatentsArguments& a) {
  training::LmdbLatentsWriter writer(output, a.shards);
  std::string prompts;
  Progress progress("encoding", data.size());
  for (std::int64_t i = 0; i < data.size() && !interrupted(); ++i) {
    const std::string prompt = data.prompt(i);
    if (writer.add(prompt, data.latents(i).transpose(0, 1))) prompts += prompt + "\n";
    progress.advance(i + 1);
  }
  progress.finish();
  MONARCH_CHECK_CODE(!interrupted(), kCancelled, "[convert] stopped; nothing was written");
  writer.finish();
  if (!a.prompts.empty()) io::write_file(a.prompts, prompts);
  std::cout << output << ": " << writer.size() << " latents";
  if (writer.size() < data.size())
    std::cout << "; " << data.size() - writer.size() << " with a prompt seen before were left out";
  std::cout << '\n';
}

}  // namespace

void add_convert_latents_flags(CLI::App& command, ConvertLatentsArguments& a) {
  command.add_option("--model", a.model,
                     "latents: the model whose VAE encodes (default: models/shapes); model "
                     "folder: whose other parts are taken (default: the configuration's)");
  command.add_option("--size", a.size, "latents: WIDTHxHEIGHT in pixels (832x480)");
  command.add_option("--frames", a.frames, "latents: pixel frames, 1 + 4n; 1 takes images")
      ->capture_default_str();
  command.add_option("--shards", a.shards, "latents: environments to spread over")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--prompts", a.prompts, "latents: also write the prompts, one a line");
  command.add_option("--seed", a.seed, "latents of shapes:N: which videos")->capture_default_str();
}

bool wants_latents(const std::string& output, const ConvertLatentsArguments& a) {
  return a.shards > 1 || fs::path(output).extension() == ".mdb";
}

void convert_latents(const std::string& input, const std::string& output,
                     const ConvertLatentsArguments& a) {
  const bool shapes = input.starts_with(kShapes);
  MONARCH_CHECK_CODE(shapes || fs::exists(input), kNotFound, "[convert] there is no ", input,
                     "; give a folder of videos with prompts (NAME.mp4, NAME.txt), an LMDB, or "
                     "shapes:N");
  if (!shapes && training::is_lmdb(input))
    return write_all(training::LmdbLatents(input), output, a);
  pipelines::WanSystem system(shipped_path(a.model.empty() ? kShapesModel : a.model));
  const training::VideoSize size = video_size(a);
  MONARCH_CHECK(system.vae_config().num_frames(
                    system.vae_config().num_latent_frames(size.frames)) == size.frames,
                "[convert] --frames ", size.frames, " is not one more than a multiple of ",
                system.vae_config().temporal_factor());
  auto clips =
      shapes ? training::clips_of_shapes(parse_count(input.substr(kShapes.size())), a.seed, size)
             : training::clips_of_folder(input, size);
  const auto vae = system.vae();
  write_all(training::EncodedVideos(std::move(clips), *vae, system.tensor_options(),
                                    /*keep=*/false),
            output, a);
}

}  // namespace monarch::apps
