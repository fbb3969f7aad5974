// `monarch generate`: prompt in, video out. Parses, calls pipelines, writes files, prints times.
#include <ATen/Parallel.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>

#include "apps/command.h"
#include "apps/generate/arguments.h"
#include "apps/generate/estimate.h"
#include "apps/generate/outputs.h"
#include "apps/generate/system_options.h"
#include "apps/generate/tensor_files.h"
#include "apps/generate/video_sink.h"
#include "apps/processes.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/base/memory.h"
#include "monarch/base/timer.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/ops/usage.h"
#include "monarch/pipelines/generate.h"
#include "monarch/pipelines/read_frames.h"
#include "monarch/pipelines/run_config.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;
using pipelines::GenerationOptions;

void print_result(const GenerateArguments& a, const GenerationOptions& options,
                  const PromptItem& item, const std::vector<fs::path>& paths,
                  const pipelines::GenerationResult& result, const VideoSink& sink, double total) {
  if (a.json) {
    Json files = Json::array();
    for (const fs::path& path : paths) files.push_back(path.string());
    Json rules = Json::array();
    for (const models::AttentionRule& rule : options.attention_rules)
      rules.push_back(models::describe(rule));
    std::cout << Json{{"files", files},
                      {"prompt", item.text},
                      {"frames", result.num_frames},
                      {"width", options.width},
                      {"height", options.height},
                      {"mode", pipelines::generation_mode_name(options.mode())},
                      {"attention", pipelines::attention_name(options)},
                      {"attention_rules", rules},
                      {"attention_runs", ops::attention_runs()},
                      {"text_seconds", result.text_seconds},
                      {"denoise_seconds", result.denoise_seconds},
                      {"decode_seconds", result.decode_seconds - sink.encode_seconds()},
                      {"encode_seconds", sink.encode_seconds()},
                      {"seconds", total},
                      {"peak_memory_bytes", peak_memory_bytes()}}
                     .dump()
              << std::endl;
    return;
  }
  for (const fs::path& path : paths) std::cout << path.string() << '\n';
  std::cout << "  " << result.num_frames << " frames of " << options.width << "x" << options.height
            << ", " << pipelines::attention_name(options) << " attention: text "
            << format_duration(result.text_seconds) << ", denoise "
            << format_duration(result.denoise_seconds) << ", decode "
            << format_duration(result.decode_seconds - sink.encode_seconds()) << ", encode "
            << format_duration(sink.encode_seconds()) << ", in all " << format_duration(total)
            << " with loading; peak memory " << format_bytes(peak_memory_bytes()) << std::endl;
  if (!a.verbose) return;
  for (const ops::AttentionRuns& runs : ops::attention_runs())
    std::cerr << "  " << describe(runs) << '\n';
}

// The others wait while the first process decodes a whole video.
constexpr parallel::CommunicatorOptions kPatient{.answer = std::chrono::hours(24)};

// Progress of the stages of one video on stderr.
class StageProgress {
 public:
  explicit StageProgress(bool quiet) : quiet_(quiet) {}
  void operator()(const pipelines::StepEvent& event) {
    if (!progress_ || event.stage != stage_) {
      stage_ = event.stage;
      progress_ = std::make_unique<Progress>(stage_, event.total, quiet_);
    }
    progress_->advance(event.done);
  }
  // Ends the line, so that a message can follow.
  void finish() { progress_.reset(); }

 private:
  bool quiet_;
  std::string stage_;
  std::unique_ptr<Progress> progress_;
};

// Wan's image-to-video models attend to features of their image besides its latents.
void refuse_image_models(const std::string& folder) {
  const Json config = models::find_model(folder, /*need_transformer=*/false).transformer_config;
  MONARCH_CHECK_CODE(!config.contains("model_type") || config["model_type"] != "i2v", kUnsupported,
                     "[generate] ", folder,
                     " is an image-to-video model (model_type i2v), which sees its image through a "
                     "CLIP encoder, and that is not supported; use a text-to-video model (a causal "
                     "one also starts from --image)");
}

class Generation {
 public:
  // All of `group` make every video together; the first of them shows and writes it.
  Generation(const GenerateArguments& arguments, const parallel::Launch& launch,
             std::shared_ptr<parallel::Communicator> group)
      : a_(arguments), launch_(launch), group_(std::move(group)) {}

  void run() {
    check_prompts(a_);
    if (a_.threads > 0) at::set_num_threads(static_cast<int>(a_.threads));
    const std::string folder = resolve_model(a_);
    if (a_.latents.empty()) refuse_image_models(folder);
    options_ = resolve_options(a_);
    options_.validate();
    MONARCH_CHECK(options_.causal || (a_.image.empty() && a_.video.empty()),
                  "[generate] --image and --video need a causal model; this configuration is for ",
                  pipelines::generation_mode_name(options_.mode()),
                  "; give the --config and --checkpoint of one, for instance "
                  "configs/self_forcing_monarch_dmd.yaml");
    pipelines::WanSystemOptions loading = system_options(a_, launch_.local_rank);
    if (group_->size() > 1) loading.sequence = group_;
    pipelines::WanSystem system(folder, loading);
    if (a_.dry_run) {
      if (!leads()) return;
      const Json estimate = estimate_run(system, options_, a_.num_samples);
      std::cout << (a_.json ? estimate.dump()
                            : "expected, not run:\n" + describe_estimate(estimate))
                << std::endl;
      return;
    }
    if (a_.latents.empty()) {
      limit_device_memory(system, options_, a_, pipelines::course_of(options_), a_.num_samples);
    }
    if (a_.verbose && leads()) describe(system);
    if (a_.latents.empty() && leads()) warn_if_too_large(system);
    const std::vector<PromptItem> items =
        a_.latents.empty() ? read_prompt_items(a_) : std::vector<PromptItem>{{0, a_.latents, ""}};
    if (leads()) check_outputs(a_, items, options_, system.options().device.is_cuda());
    // The originals draw all videos of a run from one generator; otherwise a video depends on its
    // seed alone.
    const bool one_stream = !a_.output_folder.empty() && !a_.prompt_file.empty();
    const std::uint64_t seed =
        a_.seed + (one_stream ? static_cast<std::uint64_t>(process_rank(a_).rank) : 0);
    at::Generator shared = pipelines::seeded_generator(seed);
    for (const PromptItem& item : items) {
      one_video(system, item, output_paths(a_, item, items.size() == 1),
                one_stream ? shared : pipelines::seeded_generator(seed));
    }
    group_->barrier();
  }

 private:
  bool leads() const { return group_->rank() == 0; }

  void describe(const pipelines::WanSystem& system) const {
    const models::WanConfig config = pipelines::run_config(system, options_);
    std::cerr << "model " << system.folder().string() << ": " << config.num_layers
              << " layers of width " << config.dim << ", "
              << pipelines::generation_mode_name(options_.mode()) << ", " << system.options().dtype
              << " on " << system.options().device << ", " << at::get_num_threads()
              << " threads\nattention: " << pipelines::describe_attention(system, options_) << '\n';
  }

  // Where memory is lent without being there, a process that uses it is killed without a word.
  void warn_if_too_large(const pipelines::WanSystem& system) const {
    const double needed = expected_peak_bytes(system, options_, a_.num_samples);
    const double available = available_memory_bytes();
    if (available <= 0 || needed <= available) return;
    std::cerr << "monarch: this needs about " << format_bytes(static_cast<std::uint64_t>(needed))
              << " of memory, " << format_bytes(static_cast<std::uint64_t>(available))
              << " are available; if it is killed, use --low-memory, --dtype bf16, a smaller "
                 "--size or fewer --frames\n";
  }

  at::Tensor initial_video() const {
    if (!a_.image.empty())
      return pipelines::read_frames(a_.image, options_.width, options_.height, 1);
    if (!a_.video.empty())
      return pipelines::read_frames(a_.video, options_.width, options_.height, options_.num_frames);
    return {};
  }

  void one_video(pipelines::WanSystem& system, const PromptItem& item,
                 const std::vector<fs::path>& paths, const at::Generator& generator) {
    const Timer timer;
    ops::reset_attention_runs();
    VideoSink sink(paths, options_.frames_per_second, system.options().device.is_cuda());
    const fs::path latents_path = a_.save_latents.empty()
                                      ? fs::path(paths.front().string() + ".latents.safetensors")
                                      : fs::path(a_.save_latents);
    bool latents_saved = false;
    pipelines::GenerationResult result;
    StageProgress progress(a_.json || !leads());
    pipelines::RunControl control;
    control.on_step = std::ref(progress);
    control.cancelled = interrupted;
    try {
      if (!a_.latents.empty()) {
        result = pipelines::decode_latents(
            system, load_tensor(a_.latents, "latents").to(system.tensor_options()), &sink, control);
      } else {
        pipelines::GenerationRequest request{.prompt = item.text,
                                             .num_samples = a_.num_samples,
                                             .generator = generator,
                                             .initial_video = initial_video(),
                                             .decode = leads()};
        if (!a_.embeddings.empty()) {
          request.context = load_tensor(a_.embeddings, "context");
          request.negative_context = load_tensor(a_.embeddings, "negative_context");
        }
        request.on_context = [&](const at::Tensor& context, const at::Tensor& negative) {
          if (!a_.save_embeddings.empty() && leads())
            save_tensors(a_.save_embeddings,
                         {{"context", context}, {"negative_context", negative}});
        };
        request.on_latents = [&](const at::Tensor& latents) {
          if (!leads()) return;
          save_tensors(latents_path, {{"latents", latents}});
          latents_saved = true;
        };
        result = pipelines::generate_video(system, options_, request, &sink, control);
      }
      sink.finish();
    } catch (const Error& error) {
      progress.finish();
      const bool interrupted_with_frames =
          (error.code() == ErrorCode::kCancelled || interrupted()) && sink.num_frames() > 0;
      if (interrupted_with_frames) {
        sink.finish();
        std::cerr << "monarch: interrupted; the " << sink.num_frames()
                  << " frames made so far are in " << paths.front().string()
                  << (paths.size() > 1 ? " and the files beside it" : "") << '\n';
      }
      if (latents_saved) {
        std::cerr << "monarch: the latents are in " << latents_path.string()
                  << "; to decode them: monarch generate --model " << system.folder().string()
                  << " --latents " << latents_path.string() << " --output "
                  << paths.front().string() << '\n';
      }
      if (interrupted_with_frames) throw CommandFailed{kExitFailure};
      throw;
    }
    if (latents_saved && a_.save_latents.empty()) fs::remove(latents_path);
    if (leads()) print_result(a_, options_, item, paths, result, sink, timer.seconds());
  }

  const GenerateArguments& a_;
  parallel::Launch launch_;
  std::shared_ptr<parallel::Communicator> group_;
  GenerationOptions options_;
};

}  // namespace

void add_generate(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App* command = app.add_subcommand("generate", "make a video from a prompt");
  add_generate_flags(*command, *arguments);
  command->callback([arguments] {
    const parallel::Launch launch = sequence_launch("generate", arguments->sequence_parallel_size);
    share_cores(launch);
    together(launch, kPatient,
             [&](const auto& group) { Generation(*arguments, launch, group).run(); });
  });
}

}  // namespace monarch::apps
