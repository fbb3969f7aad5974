// Live generation: a stream advances one chunk at a time, for as long as somebody watches.
//
//   const Streamer streamer(model, &vae, options);
//   StreamState state = streamer.start(context, seed);
//   while (watching) sink.write(streamer.decode(state, streamer.advance(state)), ...);
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "monarch/models/wan/causal_dit.h"
#include "monarch/models/wan/vae.h"
#include "monarch/ops/recorder.h"
#include "monarch/pipelines/frame_sink.h"
#include "monarch/pipelines/noise.h"
#include "monarch/pipelines/rollout.h"

namespace monarch::pipelines {

struct StreamOptions {
  RolloutOptions rollout;
  double timestep_shift = 5.0;
  LatentShape shape;  // shape.frames: latent frames the KV cache holds, for models that attend to
                      // all frames (local_attn_size -1); the others keep local_attn_size
  // Latent frames that are cached again when the prompt changes or a full cache must be left; a
  // whole number of chunks (one frame more with independent_first_frame).
  std::int64_t overlap_frames = 3;
  at::TensorOptions tensor_options =
      at::TensorOptions().dtype(at::kFloat);  // of latents and caches
  // Records the passes of streams that go on in full caches; null: the device's, if it has one.
  std::shared_ptr<ops::Recorder> recorder = nullptr;
};

// Everything about a stream that changes. Owned by one viewer; one thread at a time.
class StreamState {
 public:
  std::int64_t num_frames() const { return num_frames_; }              // latent frames so far
  std::int64_t num_pixel_frames() const { return num_pixel_frames_; }  // decoded so far
  const models::DitCache& cache() const { return cache_; }

 private:
  friend class Streamer;
  explicit StreamState(models::DitCache cache) : cache_(std::move(cache)) {}

  models::DitCache cache_;
  models::VaeDecodeCache vae_cache_;
  at::Generator generator_;
  at::Tensor context_;
  at::Tensor noise_;   // drawn ahead, [B, C, F, H, W]; undefined: drawn chunk by chunk
  at::Tensor recent_;  // the last overlap_frames latents
  std::int64_t noise_used_ = 0;
  std::int64_t position_ =
      0;  // of the next frame in the caches; behind num_frames_ once the caches were refilled
  std::int64_t num_frames_ = 0;
  std::int64_t num_pixel_frames_ = 0;
  bool stale_ = false;         // the caches must be refilled before the next chunk
  std::int64_t settling_ = 0;  // frames until the sink is replaced by what was made since then
};

// Const and thread-safe; model and VAE must outlive it. The VAE may be null if decode() is not
// used.
class Streamer {
 public:
  Streamer(const models::CausalWanDit& model, const models::WanVae* vae, StreamOptions options);

  // context [B, L, text_dim]. With `num_frames`, all noise of a video of that many latent frames is
  // drawn at once, as the original does; without, each chunk draws its own.
  StreamState start(const at::Tensor& context, std::uint64_t seed,
                    std::optional<std::int64_t> num_frames = std::nullopt) const;
  // The same with a generator that others may share.
  StreamState start(const at::Tensor& context, at::Generator generator,
                    std::optional<std::int64_t> num_frames = std::nullopt) const;

  // Continues given latents [B, C, F, H, W] (an image: F = 1; a video to extend) instead of
  // starting from nothing. Only on a fresh state.
  void extend(StreamState& state, const at::Tensor& latents, const RunControl& control = {}) const;

  // Denoises the next chunk; returns its latents. If it is cancelled or throws, the state is as
  // before but for the random generator.
  at::Tensor advance(StreamState& state, const RunControl& control = {}) const;

  // Takes effect in the next chunk, which first caches the last overlap_frames again under the new
  // context. A model that keeps its first frames (sink_size) does so once more when a chunk and
  // overlap_frames after it are there: a sink that shows what the context no longer says would
  // hold the stream back.
  void set_context(StreamState& state, const at::Tensor& context) const;

  // Frames [B, 3, T, H, W] in [0, 1] of the latents that advance() or extend() returned or took, in
  // order.
  at::Tensor decode(StreamState& state, const at::Tensor& latents) const;

  // Latent frames of the next chunk.
  std::int64_t next_length(const StreamState& state) const;

  const StreamOptions& options() const { return options_; }
  const sampling::FlowMatchSchedule& schedule() const { return schedule_; }

 private:
  std::int64_t cache_frames() const;
  ChunkFlow bind(StreamState& state) const;
  void refill(StreamState& state, const RunControl& control) const;
  void remember(StreamState& state, const at::Tensor& latents) const;

  const models::CausalWanDit& model_;
  const models::WanVae* vae_;
  StreamOptions options_;
  sampling::FlowMatchSchedule schedule_;
  std::int64_t frame_tokens_;
};

// Advances until `num_frames` latent frames exist, delivering decoded frames to `sink` (may be
// null) as they come. Returns the latents made in this call; fewer if the sink stops it.
at::Tensor stream(const Streamer& streamer, StreamState& state, std::int64_t num_frames,
                  FrameSink* sink, const RunControl& control = {});

}  // namespace monarch::pipelines
