#include "monarch/serving/wan/wan_engine.h"

#include <algorithm>
#include <cstring>

#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/pipelines/frame_sink.h"
#include "monarch/pipelines/generate.h"
#include "monarch/pipelines/run_config.h"

namespace monarch::serving {
namespace {

using pipelines::AttentionPreset;
using pipelines::GenerationMode;
using pipelines::GenerationOptions;

// Of bytes [1, T, H, W, 3] on the CPU.
void append(const at::Tensor& bytes, Frames& to) {
  const at::Tensor frames = bytes[0].contiguous();  // [T, H, W, 3]
  for (std::int64_t t = 0; t < frames.size(0); ++t) {
    const at::Tensor frame = frames[t];
    const auto* first = frame.const_data_ptr<std::uint8_t>();
    to.emplace_back(first, first + frame.numel());
  }
}

class CollectingSink final : public pipelines::FrameSink {
 public:
  explicit CollectingSink(Frames& frames) : frames_(frames) {}
  bool write(const at::Tensor& frames, std::int64_t /*first_frame*/) override {
    append(pipelines::to_rgb8(frames), frames_);
    return true;
  }

 private:
  Frames& frames_;
};

bool is_few_step(const GenerationOptions& options) { return !options.denoising_step_list.empty(); }

// `count` of the steps, spread evenly; always the first, where the noise is.
std::vector<std::int64_t> choose_steps(const std::vector<std::int64_t>& steps, std::int64_t count) {
  std::vector<std::int64_t> chosen;
  const auto total = static_cast<std::int64_t>(steps.size());
  for (std::int64_t i = 0; i < count; ++i)
    chosen.push_back(steps[static_cast<std::size_t>(i * total / count)]);
  return chosen;
}

double sparsity(const pipelines::WanSystem& system, const GenerationOptions& options) {
  if (options.attention != AttentionPreset::kMonarchRt) return 0;
  const pipelines::LatentShape shape = pipelines::latent_shape(system, options);
  const auto& patch = system.transformer_config().patch_size;
  return pipelines::monarch_sparsity(
      options.monarch, {shape.frames, shape.height / patch[1], shape.width / patch[2]});
}

}  // namespace

// One state, carried from chunk to chunk; the caches are filled anew when prompt or attention
// change.
class WanEngine::Causal final : public EngineStream {
 public:
  Causal(WanEngine& engine, const StreamSettings& settings)
      : engine_(engine),
        settings_(settings),
        context_(engine.encode(settings.prompt)),
        state_(streamer().start(context_, settings.seed)) {}

  EngineChunk advance(const std::function<bool()>& cancelled) override {
    const pipelines::Streamer& streamer = this->streamer();
    EngineChunk chunk;
    chunk.sparsity = engine_.variant(settings_).sparsity;
    pipelines::RunControl control;
    control.cancelled = cancelled;
    const Timer denoising;
    if (blend_left_ > 0) streamer.set_context(state_, blended());
    const at::Tensor latents = streamer.advance(state_, control);
    chunk.denoise_seconds = denoising.seconds();
    decode(latents, chunk);
    if (blend_left_ > 0 && --blend_left_ == 0) streamer.set_context(state_, context_);
    return chunk;
  }

  void change(const StreamSettings& settings) override {
    const bool other_prompt = settings.prompt != settings_.prompt;
    const bool other_attention = settings.attention != settings_.attention;
    if (other_prompt) {
      before_ = blend_left_ > 0 ? blended() : context_;
      context_ = engine_.encode(settings.prompt);
      blend_ = blend_left_ = settings.blend;
    }
    settings_ = settings;
    if (other_prompt || other_attention) streamer().set_context(state_, context_);
  }

 private:
  const pipelines::Streamer& streamer() const { return *engine_.variant(settings_).streamer; }

  void decode(const at::Tensor& latents, EngineChunk& chunk) {
    const Timer decoding;
    const std::int64_t before = state_.num_pixel_frames();
    const auto bytes = std::make_shared<ops::HostTensor>(
        engine_.decoding_.run(latents, [this](const at::Tensor& there) {
          return pipelines::to_bytes(streamer().decode(state_, there));
        }));
    if (engine_.decode_beside_) {
      // The next chunk begins, with what was asked for meanwhile, once this one is denoised.
      bytes->wait_for_input();
      chunk.denoise_seconds += decoding.seconds();
      chunk.num_awaited = state_.num_pixel_frames() - before;
      chunk.awaited = [bytes] {
        Frames frames;
        append(bytes->get(), frames);
        return frames;
      };
    } else {
      append(bytes->get(), chunk.frames);
      chunk.decode_seconds = decoding.seconds();
    }
  }

  // Between the prompt before and the present one, nearer with every chunk.
  at::Tensor blended() const {
    const double share =
        static_cast<double>(blend_ + 1 - blend_left_) / static_cast<double>(blend_ + 1);
    return at::lerp(before_, context_, share);
  }

  WanEngine& engine_;
  StreamSettings settings_;
  at::Tensor context_;  // of the prompt, [1, L, text_dim]
  at::Tensor before_;
  std::int64_t blend_ = 0;
  std::int64_t blend_left_ = 0;  // chunks
  pipelines::StreamState state_;
};

// Each chunk is a video of its own, with the next seed.
class WanEngine::WholeVideos final : public EngineStream {
 public:
  WholeVideos(WanEngine& engine, const StreamSettings& settings,
              std::optional<std::int64_t> num_frames)
      : engine_(engine), settings_(settings), num_frames_(num_frames), seed_(settings.seed) {}

  EngineChunk advance(const std::function<bool()>& cancelled) override {
    GenerationOptions options = engine_.options_for(settings_);
    if (num_frames_) options.num_frames = *num_frames_;
    options.validate();
    EngineChunk chunk;
    chunk.sparsity = sparsity(engine_.system_, options);
    CollectingSink sink(chunk.frames);
    pipelines::RunControl control;
    control.cancelled = cancelled;
    const pipelines::GenerationResult result = pipelines::generate_video(
        engine_.system_, options, {.prompt = settings_.prompt, .seed = seed_}, &sink, control);
    ++seed_;
    chunk.denoise_seconds = result.text_seconds + result.denoise_seconds;
    chunk.decode_seconds = result.decode_seconds;
    return chunk;
  }

  void change(const StreamSettings& settings) override { settings_ = settings; }

 private:
  WanEngine& engine_;
  StreamSettings settings_;
  std::optional<std::int64_t> num_frames_;
  std::uint64_t seed_;
};

WanEngine::WanEngine(pipelines::WanSystem& system, GenerationOptions options, bool decode_beside)
    : system_(system),
      options_(std::move(options)),
      decode_beside_(decode_beside),
      decoding_(system.options().device) {
  options_.validate();
  card_.id = system.folder().filename().empty() ? system.folder().parent_path().filename().string()
                                                : system.folder().filename().string();
  card_.width = options_.width;
  card_.height = options_.height;
  card_.frames_per_second = options_.frames_per_second;
  card_.gpu_encoder = system.options().device.is_cuda();
  card_.default_frames = options_.num_frames;
  card_.continuous = options_.mode() == GenerationMode::kSelfForcing;
  card_.default_steps = is_few_step(options_)
                            ? static_cast<std::int64_t>(options_.denoising_step_list.size())
                            : options_.sampling_steps;
  card_.max_steps = is_few_step(options_) ? card_.default_steps : 100;
  card_.attentions.emplace_back(pipelines::attention_preset_name(options_.attention));
  for (const AttentionPreset preset :
       {AttentionPreset::kDense, AttentionPreset::kMonarchRt, AttentionPreset::kVMonarch}) {
    if (preset == options_.attention) continue;
    GenerationOptions other = options_;
    other.attention = preset;
    other.attention_rules.clear();
    try {
      other.validate();
      pipelines::run_config(system_, other);
    } catch (const Error&) {
      continue;  // the size does not split into blocks, or the model cannot attend so
    }
    card_.attentions.emplace_back(pipelines::attention_preset_name(preset));
  }
}

GenerationOptions WanEngine::options_for(const StreamSettings& settings) const {
  GenerationOptions options = options_;
  const AttentionPreset preset = pipelines::parse_attention_preset(settings.attention);
  if (preset != options.attention) options.attention_rules.clear();
  options.attention = preset;
  if (is_few_step(options)) {
    options.denoising_step_list = choose_steps(options.denoising_step_list, settings.steps);
  } else {
    options.sampling_steps = settings.steps;
  }
  return options;
}

const WanEngine::Variant& WanEngine::variant(const StreamSettings& settings) {
  const auto [entry, added] = variants_.try_emplace({settings.attention, settings.steps});
  Variant& variant = entry->second;
  if (variant.streamer) return variant;
  GenerationOptions options = options_for(settings);
  options.relative_sink = true;  // a stream outlasts the distances of training
  if (!vae_) vae_ = system_.vae();
  variant.model = system_.causal_transformer(pipelines::run_config(system_, options));
  variant.streamer = std::make_unique<pipelines::Streamer>(
      *variant.model, vae_.get(),
      pipelines::stream_options(system_, options,
                                pipelines::latent_shape(system_, options).frames));
  variant.sparsity = sparsity(system_, options);
  return variant;
}

at::Tensor WanEngine::encode(const std::string& prompt) {
  const at::NoGradGuard no_grad;
  return system_.encode_text(std::span(&prompt, 1));
}

void WanEngine::prepare() {
  StreamSettings settings;
  settings.prompt = "a";
  settings.attention = card_.attentions.front();
  settings.steps = card_.default_steps;
  if (card_.continuous) {
    Causal(*this, settings).advance({}).take();
    return;
  }
  // A whole video may take minutes; its weights are what can be had before.
  encode(settings.prompt);
  system_.transformer(pipelines::run_config(system_, options_for(settings)));
  system_.vae();
}

std::unique_ptr<EngineStream> WanEngine::open(const StreamSettings& settings,
                                              std::optional<std::int64_t> num_frames) {
  if (card_.continuous) return std::make_unique<Causal>(*this, settings);
  return std::make_unique<WholeVideos>(*this, settings, num_frames);
}

}  // namespace monarch::serving
