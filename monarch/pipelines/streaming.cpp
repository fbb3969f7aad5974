#include "monarch/pipelines/streaming.h"

#include "monarch/base/error.h"

namespace monarch::pipelines {
namespace {

std::int64_t tokens_per_frame(const models::WanConfig& config, const LatentShape& shape) {
  MONARCH_CHECK(shape.height % config.patch_size[1] == 0 && shape.width % config.patch_size[2] == 0,
                "[monarch_pipelines] latents of ", shape.height, " x ", shape.width,
                " do not split into patches of ", config.patch_size[1], " x ",
                config.patch_size[2]);
  return (shape.height / config.patch_size[1]) * (shape.width / config.patch_size[2]);
}

}  // namespace

Streamer::Streamer(const models::CausalWanDit& model, const models::WanVae* vae,
                   StreamOptions options)
    : model_(model),
      vae_(vae),
      options_(std::move(options)),
      schedule_(sampling::FlowMatchConfig::self_forcing(options_.timestep_shift)),
      frame_tokens_(tokens_per_frame(model.config(), options_.shape)) {
  const RolloutOptions& rollout = options_.rollout;
  MONARCH_CHECK(
      !rollout.timesteps.empty(),
      "[monarch_pipelines] streaming needs denoising steps, for example 1000, 750, 500, 250");
  if (!options_.recorder) options_.recorder = ops::make_recorder(options_.tensor_options.device());
  chunk_lengths(options_.overlap_frames, rollout.num_frame_per_block,
                rollout.independent_first_frame);
  MONARCH_CHECK(cache_frames() >= rollout.num_frame_per_block,
                "[monarch_pipelines] the KV cache holds ", cache_frames(),
                " latent frames, less than a chunk of ", rollout.num_frame_per_block);
}

std::int64_t Streamer::cache_frames() const {
  const std::int64_t local = model_.config().local_attn_size;
  return local == -1 ? options_.shape.frames : local;
}

StreamState Streamer::start(const at::Tensor& context, std::uint64_t seed,
                            std::optional<std::int64_t> num_frames) const {
  return start(context, seeded_generator(seed), num_frames);
}

StreamState Streamer::start(const at::Tensor& context, at::Generator generator,
                            std::optional<std::int64_t> num_frames) const {
  StreamState state(models::DitCache(model_.config(), options_.shape.batch,
                                     cache_frames() * frame_tokens_, options_.tensor_options));
  state.cache_.record_passes(options_.recorder);
  state.generator_ = std::move(generator);
  state.context_ = context;
  if (num_frames) {
    LatentShape shape = options_.shape;
    shape.frames = *num_frames;
    state.noise_ = draw_noise(state.generator_, shape, options_.tensor_options);
  }
  return state;
}

std::int64_t Streamer::next_length(const StreamState& state) const {
  return options_.rollout.independent_first_frame && state.num_frames_ == 0
             ? 1
             : options_.rollout.num_frame_per_block;
}

ChunkFlow Streamer::bind(StreamState& state) const {
  return bind_cache(model_, state.context_, state.cache_);
}

void Streamer::remember(StreamState& state, const at::Tensor& latents) const {
  const at::Tensor all = state.recent_.defined() ? at::cat({state.recent_, latents}, 2) : latents;
  const std::int64_t kept = std::min(options_.overlap_frames, all.size(2));
  state.recent_ = all.narrow(2, all.size(2) - kept, kept).contiguous();
}

// Starts the caches anew with the last latents as if they were the beginning of a video. Attention
// depends on distances between frames only, so the shift of positions does no harm.
void Streamer::refill(StreamState& state, const RunControl& control) const {
  const at::NoGradGuard no_grad;
  state.stale_ = true;
  state.cache_.rewind();
  if (state.recent_.defined()) {
    cache_latents(bind(state), state.recent_, options_.rollout, control);
  }
  state.position_ = state.recent_.defined() ? state.recent_.size(2) : 0;
  state.stale_ = false;
}

void Streamer::extend(StreamState& state, const at::Tensor& latents,
                      const RunControl& control) const {
  MONARCH_CHECK(state.num_frames_ == 0, "[monarch_pipelines] this stream already has ",
                state.num_frames_, " latent frames; latents to extend belong at the start");
  const LatentShape& shape = options_.shape;
  MONARCH_CHECK(latents.dim() == 5 && latents.size(0) == shape.batch &&
                    latents.size(1) == shape.channels && latents.size(3) == shape.height &&
                    latents.size(4) == shape.width,
                "[monarch_pipelines] latents to extend have shape ", shape_string(latents.sizes()),
                "; [", shape.batch, ", ", shape.channels, ", frames, ", shape.height, ", ",
                shape.width, "] was expected");
  const at::NoGradGuard no_grad;
  const at::Tensor initial = latents.to(options_.tensor_options);
  cache_latents(bind(state), initial, options_.rollout, control);
  state.position_ = state.num_frames_ = initial.size(2);
  remember(state, initial);
}

at::Tensor Streamer::advance(StreamState& state, const RunControl& control) const {
  const at::NoGradGuard no_grad;
  const std::int64_t length = next_length(state);
  const bool sliding = model_.config().local_attn_size != -1;  // the cache evicts by itself
  if (!sliding && state.position_ + length > cache_frames()) {
    MONARCH_CHECK(options_.overlap_frames + length <= cache_frames(),
                  "[monarch_pipelines] the KV cache is full: it holds ", cache_frames(),
                  " latent frames, too few to go on with the last ", options_.overlap_frames,
                  " and ", length, " new ones");
    state.stale_ = true;
  }
  if (state.stale_) refill(state, control);
  at::Tensor noise;
  if (state.noise_.defined()) {
    MONARCH_CHECK(state.noise_used_ + length <= state.noise_.size(2),
                  "[monarch_pipelines] this stream was started for ", state.noise_.size(2),
                  " latent frames, and all have been made; start one without a length");
    noise = state.noise_.narrow(2, state.noise_used_, length);
  } else {
    LatentShape shape = options_.shape;
    shape.frames = length;
    noise = draw_noise(state.generator_, shape, options_.tensor_options);
  }
  const at::Tensor latents =
      roll_chunk(bind(state), schedule_, noise, state.position_, options_.rollout,
                 noise_source(state.generator_), {}, control);
  state.noise_used_ += length;
  state.position_ += length;
  state.num_frames_ += length;
  remember(state, latents);
  if (state.settling_ > 0) {
    state.settling_ = std::max<std::int64_t>(0, state.settling_ - length);
    if (state.settling_ == 0) state.stale_ = true;
  }
  return latents;
}

void Streamer::set_context(StreamState& state, const at::Tensor& context) const {
  state.context_ = context;
  state.cache_.forget_context();
  state.stale_ = true;
  if (model_.config().sink_size > 0)
    state.settling_ = options_.rollout.num_frame_per_block + options_.overlap_frames;
}

at::Tensor Streamer::decode(StreamState& state, const at::Tensor& latents) const {
  MONARCH_CHECK(vae_ != nullptr, "[monarch_pipelines] this stream has no VAE to decode with");
  const at::NoGradGuard no_grad;
  const at::Tensor frames = to_unit_range(vae_->decode_chunk(latents, state.vae_cache_));
  state.num_pixel_frames_ += frames.size(2);
  return frames;
}

at::Tensor stream(const Streamer& streamer, StreamState& state, std::int64_t num_frames,
                  FrameSink* sink, const RunControl& control) {
  std::vector<at::Tensor> parts;
  while (state.num_frames() < num_frames) {
    const std::int64_t rest = num_frames - state.num_frames();
    MONARCH_CHECK(streamer.next_length(state) <= rest, "[monarch_pipelines] ", rest,
                  " latent frames are left, less than a chunk of ", streamer.next_length(state));
    parts.push_back(streamer.advance(state, control));
    if (sink != nullptr) {
      const std::int64_t first = state.num_pixel_frames();
      if (!sink->write(streamer.decode(state, parts.back()), first)) break;
    }
    control.step("denoise", state.num_frames(), num_frames);
  }
  return parts.empty() ? at::Tensor() : at::cat(parts, 2);
}

}  // namespace monarch::pipelines
