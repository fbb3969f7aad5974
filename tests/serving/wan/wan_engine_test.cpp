#include "monarch/serving/wan/wan_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "monarch/base/error.h"
#include "monarch/pipelines/run_config.h"
#include "tests/pipelines/tiny_system_fixture.h"

namespace monarch::serving {
namespace {

using pipelines::GenerationMode;

const auto kNever = [] { return false; };

class TinyEngine : public pipelines::TinySystem {
 protected:
  static StreamSettings settings(const std::string& prompt, std::uint64_t seed = 7) {
    return {.prompt = prompt, .seed = seed, .attention = "dense", .steps = 3};
  }
  static Frames chunk(EngineStream& stream) { return stream.advance(kNever).take(); }

  pipelines::WanSystem system_{*folder_};
};

TEST_F(TinyEngine, TheCardSaysWhatTheModelCanDo) {
  const WanEngine live(system_, options(GenerationMode::kSelfForcing));
  EXPECT_EQ(live.card().id, folder_->filename().string());
  EXPECT_TRUE(live.card().continuous);
  EXPECT_EQ(live.card().attentions, (std::vector<std::string>{"dense", "monarchrt"}));
  EXPECT_EQ(live.card().default_steps, 3);
  EXPECT_EQ(live.card().max_steps, 3);
  const WanEngine whole(system_, options(GenerationMode::kDiffusion));
  EXPECT_FALSE(whole.card().continuous);
  EXPECT_EQ(whole.card().attentions, (std::vector<std::string>{"dense", "monarchrt", "vmonarch"}));
  EXPECT_EQ(whole.card().default_frames, 21);
  EXPECT_EQ(whole.card().max_steps, 100);
}

TEST_F(TinyEngine, AStreamIsTheStreamersFrames) {
  WanEngine live(system_, options(GenerationMode::kSelfForcing));
  const auto stream = live.open(settings("a cat"), std::nullopt);
  const Frames first = chunk(*stream);
  const Frames second = chunk(*stream);
  ASSERT_EQ(first.size(), 5U);  // 2 latent frames, the first of which is one pixel frame
  ASSERT_EQ(second.size(), 8U);

  const pipelines::GenerationOptions options = this->options(GenerationMode::kSelfForcing);
  const auto model = system_.causal_transformer(pipelines::run_config(system_, options));
  const auto vae = system_.vae();
  const pipelines::Streamer streamer(*model, vae.get(),
                                     pipelines::stream_options(system_, options, 6));
  const at::NoGradGuard no_grad;
  const std::string prompt = "a cat";
  pipelines::StreamState state = streamer.start(system_.encode_text(std::span(&prompt, 1)), 7);
  const at::Tensor expected =
      pipelines::to_rgb8(streamer.decode(state, streamer.advance(state)))[0].contiguous();
  ASSERT_EQ(expected.sizes(), (std::vector<std::int64_t>{5, 32, 32, 3}));
  for (std::int64_t t = 0; t < 5; ++t) {
    const at::Tensor frame = expected[t].contiguous();
    EXPECT_TRUE(std::ranges::equal(
        std::span(frame.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frame.numel())),
        first[static_cast<std::size_t>(t)]));
  }
}

TEST_F(TinyEngine, StreamsShareAModelAndNothingElse) {
  WanEngine live(system_, options(GenerationMode::kSelfForcing));
  const auto alone = live.open(settings("a cat"), std::nullopt);
  const Frames first = chunk(*alone);
  const Frames second = chunk(*alone);
  const auto one = live.open(settings("a cat"), std::nullopt);
  const auto other = live.open(settings("a dog", 8), std::nullopt);
  EXPECT_EQ(chunk(*one), first);
  EXPECT_NE(chunk(*other), first);
  EXPECT_EQ(chunk(*one), second);
}

TEST_F(TinyEngine, AChangeShowsInTheNextChunkAlone) {
  WanEngine live(system_, options(GenerationMode::kSelfForcing));
  const auto change = [&](StreamSettings changed) {
    const auto stream = live.open(settings("a cat"), std::nullopt);
    std::vector<Frames> chunks{chunk(*stream)};
    stream->change(changed);
    chunks.push_back(chunk(*stream));
    chunks.push_back(chunk(*stream));
    return chunks;
  };
  const std::vector<Frames> same = change(settings("a cat"));
  const std::vector<Frames> prompt = change(settings("a blue square"));
  StreamSettings fewer_steps = settings("a cat");
  fewer_steps.steps = 1;
  const std::vector<Frames> steps = change(fewer_steps);
  StreamSettings monarch = settings("a cat");
  monarch.attention = "monarchrt";
  const std::vector<Frames> attention = change(monarch);
  for (const auto& changed : {prompt, steps, attention}) {
    EXPECT_EQ(changed[0], same[0]);
    EXPECT_NE(changed[1], same[1]);
    EXPECT_EQ(changed[1].size(), same[1].size());
  }
}

TEST_F(TinyEngine, APromptCanTakeOverSlowly) {
  WanEngine live(system_, options(GenerationMode::kSelfForcing));
  const auto after = [&](std::int64_t blend) {
    const auto stream = live.open(settings("a cat"), std::nullopt);
    chunk(*stream);
    StreamSettings changed = settings("a blue square");
    changed.blend = blend;
    stream->change(changed);
    return chunk(*stream);
  };
  const auto distance = [](const Frames& a, const Frames& b) {
    double sum = 0;
    for (std::size_t t = 0; t < a.size(); ++t)
      for (std::size_t i = 0; i < a[t].size(); ++i)
        sum += std::abs(static_cast<int>(a[t][i]) - static_cast<int>(b[t][i]));
    return sum;
  };
  // The first of many chunks is still near to the old prompt, but both texts were cached anew.
  const Frames at_once = after(0);
  EXPECT_GT(distance(after(1), at_once), 0);
  EXPECT_LT(distance(after(1), at_once), distance(after(60), at_once));
}

TEST_F(TinyEngine, ACancelledChunkCanBeRepeated) {
  WanEngine live(system_, options(GenerationMode::kSelfForcing));
  const auto stream = live.open(settings("a cat"), std::nullopt);
  try {
    stream->advance([] { return true; });
    FAIL() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
  EXPECT_EQ(chunk(*stream).size(), 5U);
}

TEST_F(TinyEngine, AwaitedFramesAreTheSame) {
  const pipelines::GenerationOptions options = this->options(GenerationMode::kSelfForcing);
  WanEngine plain(system_, options), beside(system_, options, /*decode_beside=*/true);
  // Two viewers in turns; one is cancelled once and changes its prompt.
  const auto run = [&](WanEngine& live) {
    const auto one = live.open(settings("a cat"), std::nullopt);
    const auto other = live.open(settings("a dog", 8), std::nullopt);
    std::vector<EngineChunk> chunks;
    const auto advance = [&](EngineStream& stream) { chunks.push_back(stream.advance(kNever)); };
    advance(*one);
    advance(*other);
    EXPECT_THROW(one->advance([] { return true; }), Error);
    one->change(settings("a blue square"));
    advance(*one);
    advance(*other);
    advance(*one);
    return chunks;
  };
  std::vector<EngineChunk> there = run(plain), awaited = run(beside);  // the streams are closed
  ASSERT_EQ(awaited.size(), there.size());
  for (std::size_t i = 0; i < there.size(); ++i) {
    EXPECT_FALSE(there[i].awaited);
    EXPECT_TRUE(awaited[i].awaited);
    EXPECT_EQ(awaited[i].num_frames(), there[i].num_frames());
    EXPECT_EQ(awaited[i].take(), there[i].take()) << i;
  }
}

TEST_F(TinyEngine, ModelsOfWholeVideosMakeOneAfterAnother) {
  WanEngine whole(system_, options(GenerationMode::kDiffusion));
  const auto stream = whole.open(settings("a cat"), 5);
  const Frames first = chunk(*stream);
  pipelines::GenerationOptions options = this->options(GenerationMode::kDiffusion);
  options.num_frames = 5;
  pipelines::Counter sink;
  pipelines::generate_video(system_, options, {.prompt = "a cat", .seed = 7}, &sink);
  const at::Tensor expected = pipelines::to_rgb8(sink.video())[0].contiguous();
  ASSERT_EQ(first.size(), 5U);
  EXPECT_TRUE(std::ranges::equal(
      std::span(expected.const_data_ptr<std::uint8_t>(), first[0].size()), first[0]));
  const Frames second = chunk(*stream);  // the next seed
  EXPECT_NE(second, first);
  EXPECT_EQ(chunk(*whole.open(settings("a cat", 8), 5)), second);
}

TEST_F(TinyEngine, PreparingChangesNothing) {
  for (const GenerationMode mode : {GenerationMode::kSelfForcing, GenerationMode::kDiffusion}) {
    WanEngine prepared(system_, options(mode));
    WanEngine plain(system_, options(mode));
    prepared.prepare();
    EXPECT_EQ(chunk(*prepared.open(settings("a cat"), 5)),
              chunk(*plain.open(settings("a cat"), 5)));
  }
}

}  // namespace
}  // namespace monarch::serving
