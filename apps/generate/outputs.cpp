#include "apps/generate/outputs.h"

#include <system_error>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/video.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

// A prompt as a file name: the originals take its first 100 characters; a slash would leave the
// folder.
std::string file_stem(const std::string& prompt) {
  std::string stem;
  std::size_t characters = 0;
  for (const char byte : prompt) {
    if ((static_cast<unsigned char>(byte) & 0xC0U) != 0x80U && ++characters > 100)
      break;  // not a continuation byte
    stem += byte == '/' || static_cast<unsigned char>(byte) < 0x20 ? '_' : byte;
  }
  return stem;
}

void make_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error;
  fs::create_directories(folder, error);
  MONARCH_CHECK_CODE(!error, kIo, "[generate] cannot make the folder ", folder.string(), ": ",
                     error.message());
}

// The folder that videos named after their prompts go to, or empty. --output is one too if it ends
// in a slash, or if it exists and several videos are made.
fs::path folder_of_videos(const GenerateArguments& a, bool single_video) {
  if (a.output.ends_with('/') || (!single_video && fs::is_directory(a.output))) return a.output;
  return a.output_folder;
}

}  // namespace

std::vector<fs::path> output_paths(const GenerateArguments& a, const PromptItem& item,
                                   bool single_prompt) {
  const fs::path folder = folder_of_videos(a, single_prompt && a.num_samples == 1);
  std::vector<fs::path> paths;
  for (std::int64_t sample = 0; sample < a.num_samples; ++sample) {
    if (!folder.empty()) {
      const std::string name =
          a.save_with_index ? str_cat(item.index, '-', sample, '_', a.use_ema ? "ema" : "regular")
                            : str_cat(file_stem(item.prompt), '-', sample);
      paths.push_back(folder / (name + ".mp4"));
      continue;
    }
    fs::path path = a.output.empty() ? "video.mp4" : a.output;
    if (!single_prompt || a.num_samples > 1) {
      std::string suffix = single_prompt ? "" : str_cat('-', item.index);
      if (a.num_samples > 1) suffix += str_cat('-', sample);
      path = path.parent_path() / (path.stem().string() + suffix + path.extension().string());
    }
    paths.push_back(path);
  }
  return paths;
}

void check_outputs(const GenerateArguments& a, const std::vector<PromptItem>& items,
                   const pipelines::GenerationOptions& options, bool gpu_encoder) {
  const bool single = items.size() == 1;
  for (const auto& [flag, path] : {std::pair{"--save-latents", a.save_latents},
                                   {"--save-embeddings", a.save_embeddings},
                                   {"--embeddings", a.embeddings}}) {
    MONARCH_CHECK(path.empty() || single, "[generate] ", flag, " is for one prompt, but there are ",
                  items.size(), "; make them one by one");
  }
  // Opened and dropped: an unwritable place or an impossible size shows before the work instead of
  // after it.
  for (const PromptItem& item : items) {
    for (const fs::path& path : output_paths(a, item, single)) {
      make_folder_of(path);
      io::open_video_writer(path, options.width, options.height, options.frames_per_second,
                            std::exchange(gpu_encoder, false));  // once says which encoder runs
    }
  }
  for (const std::string& path : {a.save_latents, a.save_embeddings}) {
    if (path.empty()) continue;
    make_folder_of(path);
    io::AtomicFile probe(path);
  }
}

}  // namespace monarch::apps
