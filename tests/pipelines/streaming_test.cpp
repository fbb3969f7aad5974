#include "monarch/pipelines/streaming.h"

#include <gtest/gtest.h>

#include "monarch/base/error.h"
#include "monarch/models/wan/rope.h"
#include "tests/pipelines/tiny_system.h"
#include "tests/support/repeating_recorder.h"

namespace monarch::pipelines {
namespace {

class Streaming : public testing::Test {
 protected:
  Streaming() : Streaming(tiny_config()) {}
  explicit Streaming(const models::WanConfig& config)
      : model_(config, tiny_weights(config)),
        vae_(tiny_vae_config(), models::random_parameters(tiny_vae_config(), 3)) {
    options_.rollout = {.num_frame_per_block = 2, .timesteps = {1000.0F, 625.0F}};
    options_.shape = {.batch = 1, .channels = 4, .frames = 8, .height = 4, .width = 4};
    options_.overlap_frames = 2;
  }

  Streamer streamer() const { return Streamer(model_, &vae_, options_); }
  static at::Tensor context(std::uint64_t seed) {
    at::Generator generator = seeded_generator(seed);
    return at::randn({1, 5, 16}, generator, at::TensorOptions().dtype(at::kFloat));
  }

  models::CausalWanDit model_;
  models::WanVae vae_;
  StreamOptions options_;
};

class CollectingSink : public FrameSink {
 public:
  explicit CollectingSink(int limit = 1000) : limit_(limit) {}
  bool write(const at::Tensor& frames, std::int64_t first_frame) override {
    EXPECT_EQ(first_frame, total_);
    total_ += frames.size(2);
    parts.push_back(frames);
    return static_cast<int>(parts.size()) < limit_;
  }
  std::vector<at::Tensor> parts;

 private:
  int limit_;
  std::int64_t total_ = 0;
};

TEST_F(Streaming, ChunkByChunkEqualsOneCall) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7, 6);
  std::vector<at::Tensor> chunks;
  for (int i = 0; i < 3; ++i) chunks.push_back(live.advance(state));

  at::Generator generator = seeded_generator(7);
  const at::Tensor ctx = context(1);
  LatentShape shape = options_.shape;
  shape.frames = 6;
  const at::Tensor noise = draw_noise(generator, shape, ctx.options());
  models::DitCache cache(model_.config(), 1, 8 * 4, ctx.options());
  const at::Tensor whole = roll_out(bind_cache(model_, ctx, cache), live.schedule(), noise, {},
                                    options_.rollout, noise_source(generator));
  EXPECT_TRUE(at::equal(at::cat(chunks, 2), whole));
}

TEST_F(Streaming, SameSeedSameBits) {
  const Streamer live = streamer();
  const auto run = [&](std::uint64_t seed) {
    StreamState state = live.start(context(1), seed);
    return stream(live, state, 6, nullptr);
  };
  const at::Tensor first = run(7);
  EXPECT_TRUE(at::equal(first, run(7)));
  EXPECT_FALSE(at::equal(first, run(8)));
}

TEST_F(Streaming, TwoViewersDoNotDisturbEachOther) {
  const Streamer live = streamer();
  StreamState alone = live.start(context(1), 7);
  const at::Tensor expected = stream(live, alone, 6, nullptr);
  StreamState first = live.start(context(1), 7);
  StreamState second = live.start(context(2), 9);
  std::vector<at::Tensor> chunks;
  for (int i = 0; i < 3; ++i) {
    chunks.push_back(live.advance(first));
    live.advance(second);
  }
  EXPECT_TRUE(at::equal(at::cat(chunks, 2), expected));
}

TEST_F(Streaming, DecodesAsTheWholeVideo) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  CollectingSink sink;
  const at::Tensor latents = stream(live, state, 6, &sink);
  const at::Tensor frames = at::cat(sink.parts, 2);
  EXPECT_EQ(frames.sizes(), (std::vector<int64_t>{1, 3, 21, 32, 32}));
  EXPECT_EQ(state.num_pixel_frames(), 21);
  EXPECT_TRUE(at::equal(frames, to_unit_range(vae_.decode(latents))));
  EXPECT_GE(frames.min().item<float>(), 0.0);
  EXPECT_LE(frames.max().item<float>(), 1.0);
}

TEST_F(Streaming, TheSinkMayStop) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  CollectingSink sink(2);
  EXPECT_EQ(stream(live, state, 8, &sink).size(2), 4);
  EXPECT_EQ(stream(live, state, 8, nullptr).size(2), 4);  // and it may go on later
}

TEST_F(Streaming, GoesOnWhenTheCacheIsFull) {
  const Streamer live = streamer();  // the cache holds 8 frames
  StreamState state = live.start(context(1), 7);
  const at::Tensor latents = stream(live, state, 20, nullptr);
  EXPECT_EQ(latents.size(2), 20);
  EXPECT_TRUE(latents.isfinite().all().item<bool>());
}

TEST_F(Streaming, ANewPromptChangesOnlyWhatFollows) {
  const Streamer live = streamer();
  StreamState before = live.start(context(1), 7);
  StreamState changed = live.start(context(1), 7);
  EXPECT_TRUE(at::equal(live.advance(before), live.advance(changed)));
  live.set_context(changed, context(2));
  const at::Tensor kept = live.advance(before);
  const at::Tensor other = live.advance(changed);
  EXPECT_FALSE(at::equal(kept, other));
  // The overlap is one chunk, so what follows is the extension of that chunk under the new prompt.
  EXPECT_EQ(changed.num_frames(), 4);
}

TEST_F(Streaming, ANewPromptEqualsAnExtensionUnderIt) {
  const Streamer live = streamer();
  StreamState changed = live.start(context(1), 7);
  const at::Tensor first = live.advance(changed);
  live.set_context(changed, context(2));
  StreamState extended = live.start(context(2), 7);
  live.extend(extended, first);
  // The generators stand at different draws; what the caches hold must agree.
  live.advance(changed);
  live.advance(extended);
  const auto keys = [](const StreamState& state) {
    return state.cache().buffers(0).k.narrow(1, 0, 8);
  };
  EXPECT_LT((keys(changed) - keys(extended)).abs().max().item<float>(), 1e-6);
}

TEST_F(Streaming, ACancelledChunkCanBeRepeated) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  live.advance(state);
  int asked = 0;
  const RunControl control{.cancelled = [&] { return ++asked == 2; }};
  EXPECT_EQ(message_of([&] { live.advance(state, control); }),
            "[monarch_pipelines] stopped on request");
  EXPECT_EQ(state.num_frames(), 2);
  EXPECT_EQ(live.advance(state).size(2), 2);
  EXPECT_EQ(state.num_frames(), 4);
}

TEST_F(Streaming, ErrorsSayWhatToDo) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7, 2);
  live.advance(state);
  EXPECT_EQ(message_of([&] { live.advance(state); }),
            "[monarch_pipelines] this stream was started for 2 latent frames, and all have been "
            "made; start one without a "
            "length");
  EXPECT_EQ(message_of([&] {
              live.extend(state, at::zeros({1, 4, 2, 4, 4}));
            }),
            "[monarch_pipelines] this stream already has 2 latent frames; latents to extend belong "
            "at the start");
  StreamState fresh = live.start(context(1), 7);
  EXPECT_EQ(message_of([&] {
              live.extend(fresh, at::zeros({1, 4, 2, 4, 5}));
            }),
            "[monarch_pipelines] latents to extend have shape [1, 4, 2, 4, 5]; [1, 4, frames, 4, "
            "4] was expected");
  EXPECT_EQ(message_of([&] { stream(live, fresh, 3, nullptr); }),
            "[monarch_pipelines] 1 latent frames are left, less than a chunk of 2");
  EXPECT_EQ(message_of([&] {
              Streamer(model_, nullptr, options_).decode(fresh, at::zeros({1, 4, 2, 4, 4}));
            }),
            "[monarch_pipelines] this stream has no VAE to decode with");
  StreamOptions bad = options_;
  bad.rollout.timesteps.clear();
  EXPECT_EQ(message_of([&] { Streamer(model_, nullptr, bad); }),
            "[monarch_pipelines] streaming needs denoising steps, for example 1000, 750, 500, 250");
  bad = options_;
  bad.overlap_frames = 3;
  EXPECT_EQ(message_of([&] { Streamer(model_, nullptr, bad); }),
            "[monarch_pipelines] 3 latent frames do not split into chunks of 2; use 2 or 4");
  bad = options_;
  bad.shape.frames = 1;
  EXPECT_EQ(message_of([&] { Streamer(model_, nullptr, bad); }),
            "[monarch_pipelines] the KV cache holds 1 latent frames, less than a chunk of 2");
  bad.shape.frames = 2;
  const Streamer narrow(model_, nullptr, bad);
  StreamState full = narrow.start(context(1), 7);
  narrow.advance(full);
  EXPECT_EQ(message_of([&] { narrow.advance(full); }),
            "[monarch_pipelines] the KV cache is full: it holds 2 latent frames, too few to go on "
            "with the last 2 and 2 new "
            "ones");
  bad = options_;
  bad.shape.height = 5;
  EXPECT_EQ(message_of([&] { Streamer(model_, nullptr, bad); }),
            "[monarch_pipelines] latents of 5 x 4 do not split into patches of 2 x 2");
}

models::WanConfig sliding_config() {
  models::WanConfig config = tiny_config();
  config.local_attn_size = 4;
  return config;
}

class SlidingStream : public Streaming {
 protected:
  SlidingStream() : Streaming(sliding_config()) {}
};

TEST_F(SlidingStream, RunsForeverInAWindow) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  const at::Tensor latents = stream(live, state, 24, nullptr);
  EXPECT_EQ(latents.size(2), 24);
  EXPECT_EQ(state.cache().capacity(), 4 * 4);
  EXPECT_TRUE(latents.isfinite().all().item<bool>());
}

// The originals' table of rotations has 1024 frames.
TEST_F(SlidingStream, GoesOnBeyondAThousandFrames) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  stream(live, state, 1100, nullptr);
  const at::Tensor latents = stream(live, state, 1108, nullptr);
  EXPECT_TRUE(latents.isfinite().all().item<bool>());
  const at::Tensor steps = (latents.narrow(2, 1, 7) - latents.narrow(2, 0, 7)).abs();
  EXPECT_GT(steps.mean().item<float>(), 0.1);  // noise is drawn anew: nothing stands still
}

TEST_F(SlidingStream, RotationsDependOnDistancesAlone) {
  const ops::Grid grid{.frames = 4, .height = 2, .width = 2};
  const auto between = [&](int64_t start) {  // the first and the last of four frames
    const at::Tensor table = models::rope_table(grid, start, 12).view({4, 4, 6});
    return table[3] * at::conj(table[0]);
  };
  EXPECT_LT((between(0) - between(1'000'000)).abs().max().item<float>(), 1e-6);
  EXPECT_GT(
      (between(0) - models::rope_table(grid, 0, 12).view({4, 4, 6})[2]).abs().max().item<float>(),
      0.1);
}

class SinkStream : public Streaming {
 protected:
  static models::WanConfig config() {
    models::WanConfig config = tiny_config();
    config.local_attn_size = 6;
    config.sink_size = 2;
    config.relative_sink = true;
    return config;
  }
  SinkStream() : Streaming(config()) {}
};

// The caches begin with what was made under the old prompt, and two chunks later without it.
TEST_F(SinkStream, ANewPromptGetsItsOwnSink) {
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  std::vector<std::int64_t> cached;  // frames since the caches began
  for (int chunk = 0; chunk < 8; ++chunk) {
    if (chunk == 3) live.set_context(state, context(2));
    live.advance(state);
    cached.push_back(state.cache().global_end() / 4);
  }
  EXPECT_EQ(cached, (std::vector<std::int64_t>{2, 4, 6, 4, 6, 4, 6, 8}));
}

// Two prompts; long enough for full caches under both.
at::Tensor stream_of_two_prompts(const Streamer& live, const at::Tensor& first,
                                 const at::Tensor& second) {
  StreamState state = live.start(first, 7);
  const at::Tensor before = stream(live, state, 16, nullptr);
  live.set_context(state, second);
  return at::cat({before, stream(live, state, 36, nullptr)}, 2);
}

void expect_same_when_recorded(const models::CausalWanDit& model, StreamOptions options,
                               const at::Tensor& first, const at::Tensor& second) {
  const at::Tensor expected =
      stream_of_two_prompts(Streamer(model, nullptr, options), first, second);
  const auto recorder = std::make_shared<RepeatingRecorder>();
  options.recorder = recorder;
  EXPECT_TRUE(
      at::equal(stream_of_two_prompts(Streamer(model, nullptr, options), first, second), expected));
  EXPECT_GT(recorder->replayed, 4 * recorder->recorded);
}

TEST_F(SlidingStream, RecordedPassesGiveTheSameBits) {
  expect_same_when_recorded(model_, options_, context(1), context(2));
}

TEST_F(SinkStream, RecordedPassesGiveTheSameBits) {
  expect_same_when_recorded(model_, options_, context(1), context(2));
}

TEST_F(Streaming, RecordedPassesOfCachesThatAreRefilledGiveTheSameBits) {
  options_.shape.frames = 4;
  expect_same_when_recorded(model_, options_, context(1), context(2));
}

TEST_F(SlidingStream, StartsFromAnImage) {
  options_.rollout.independent_first_frame = true;
  options_.overlap_frames = 3;
  const Streamer live = streamer();
  StreamState state = live.start(context(1), 7);
  const at::Tensor image = vae_.encode(at::zeros({1, 3, 1, 32, 32}));
  live.extend(state, image);
  CollectingSink sink;
  sink.write(live.decode(state, image), 0);
  stream(live, state, 5, &sink);
  EXPECT_EQ(state.num_pixel_frames(), 17);
}

}  // namespace
}  // namespace monarch::pipelines
