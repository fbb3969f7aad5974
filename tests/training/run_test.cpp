#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/training/data/batches.h"
#include "monarch/training/data/lmdb_latents.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/train_loop.h"
#include "tests/support/message_of.h"
#include "tests/training/tiny_dit.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

class RunTest : public ::testing::Test {
 protected:
  RunTest() : folder_(fs::temp_directory_path() / ("monarch_run_" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~RunTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

// All that a run consists of, from the same first weights.
struct TinyRun {
  Team alone;
  DiffusionRecipe recipe;
  DataBatches batches;

  explicit TinyRun(double lr = 1e-3)
      : recipe(test::tiny_dit(), /*causal=*/true,
               models::random_dit_weights(test::tiny_dit(), pipelines::seeded_generator(3)),
               {.levels = {.by_chunk = true, .num_frame_per_block = 2},
                .update = {.lr = lr},
                .ema = {.decay = 0.9, .start_step = 2},
                .accumulation = 2},
               alone),
        batches(
            std::make_shared<test::NoiseLatents>(5, 4),
            [](std::span<const std::string> prompts) {
              return at::ones({static_cast<int64_t>(prompts.size()), 4, 8});
            },
            2, alone, at::kFloat) {}

  LoopResult go(RunFolder& folder, int64_t iterations, bool resume = false) {
    const at::AutoGradMode gradients(true);
    return run_loop(recipe, batches, folder,
                    {.iterations = iterations,
                     .save_every = 2,
                     .resume = resume,
                     .seed = 11,
                     .config = {{"name", "test"}},
                     .validate = {},
                     .stop = {}},
                    alone);
  }
};

void expect_equal(const models::TensorMap& a, const models::TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(tensor.equal(b.at(name))) << name;
}

TEST_F(RunTest, ResumesBitForBit) {
  TinyRun whole, begun, resumed;
  RunFolder once(folder_ / "whole");
  whole.go(once, 6);
  RunFolder parts(folder_ / "parts");
  begun.go(parts, 3);
  resumed.go(parts, 6, /*resume=*/true);
  expect_equal(whole.recipe.state(), resumed.recipe.state());
  EXPECT_EQ(whole.batches.position(), resumed.batches.position());
}

TEST_F(RunTest, MetricsHaveOneLineAnIteration) {
  RunFolder folder(folder_);
  TinyRun begun, resumed;
  begun.go(folder, 4);
  fs::remove_all(folder_ / "checkpoint_model_000004");
  std::string console;
  set_log_sink([&](LogLevel, std::string_view text) { (console += text) += '\n'; });
  resumed.go(folder, 6, /*resume=*/true);  // from 2: 3 and 4 again
  set_log_sink({});
  std::ifstream in(folder_ / "metrics.jsonl");
  std::string line;
  for (int64_t step = 1; step <= 6; ++step) {
    ASSERT_TRUE(std::getline(in, line));
    EXPECT_EQ(Json::parse(line).at("step"), step);
    EXPECT_TRUE(Json::parse(line).at("generator_loss").is_number());
    EXPECT_DOUBLE_EQ(Json::parse(line).at("generator_lr"), 1e-3);
    EXPECT_GT(Json::parse(line).at("samples_per_second"), 0);
    EXPECT_GT(Json::parse(line).at("peak_memory_gib"), 0);
    EXPECT_EQ(Json::parse(line).at("seconds_left") > 0, step != 6);
  }
  EXPECT_FALSE(std::getline(in, line));
  for (const char* shown : {"iteration 6/6  generator_loss ", "  generator_lr 0.001  ",
                            "  samples_per_second ", "  0 min left  ", "  peak_memory_gib "})
    EXPECT_NE(console.find(shown), std::string::npos) << shown << "\n" << console;
  std::string events;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (!entry.path().filename().string().starts_with("events.")) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    events.append(std::istreambuf_iterator<char>(file), {});
  }
  for (const char* tag : {"generator_lr", "samples_per_second", "seconds_left", "peak_memory_gib"})
    EXPECT_NE(events.find(tag), std::string::npos) << tag;
}

TEST_F(RunTest, ADamagedCheckpointIsPassedOver) {
  RunFolder folder(folder_);
  TinyRun run;
  run.go(folder, 4);
  const fs::path file = folder.latest() / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  std::string warning;
  set_log_sink([&](LogLevel level, std::string_view line) {
    if (level == LogLevel::kWarning) warning = line;
  });
  const auto saved = folder.load_latest();
  set_log_sink({});
  ASSERT_TRUE(saved.has_value());
  EXPECT_EQ(saved->progress.step, 2);
  EXPECT_NE(warning.find("its size or hash differs"), std::string::npos) << warning;
}

TEST_F(RunTest, DoesNotWriteOverAnotherRun) {
  RunFolder folder(folder_);
  TinyRun first, second;
  first.go(folder, 2);
  EXPECT_NE(message_of([&] { second.go(folder, 4); }).find("already holds checkpoint_model_000002"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              RunFolder fresh(folder_ / "new");
              second.go(fresh, 4, true);
            }).find("has no whole checkpoint to resume"),
            std::string::npos);
}

TEST_F(RunTest, StopsWhenTheLossIsNotFinite) {
  RunFolder folder(folder_);
  TinyRun good, bad;
  good.go(folder, 2);
  const at::NoGradGuard no_grad;
  class Poisoned : public BatchSource {
   public:
    Batch next() override {
      return {.context = at::ones({1, 4, 8}),
              .latents = at::full({1, 4, 4, 4, 4}, std::numeric_limits<float>::quiet_NaN())};
    }
    int64_t position() const override { return 0; }
    void seek(int64_t /*position*/) override {}
  } poisoned;
  const at::AutoGradMode gradients(true);
  const std::string message = message_of([&] {
    run_loop(bad.recipe, poisoned, folder,
             {.iterations = 4, .resume = true, .seed = 1, .config = {}, .validate = {}, .stop = {}},
             bad.alone);
  });
  EXPECT_NE(message.find("generator_loss became nan in iteration 2"), std::string::npos) << message;
  EXPECT_NE(message.find("the last good checkpoint is"), std::string::npos);
  EXPECT_NE(message.find("checkpoint_model_000002"), std::string::npos);
}

TEST_F(RunTest, TheLastBatchOfAPassMayBeSmallerAndPassesRepeat) {
  TinyRun run;
  std::vector<int64_t> sizes;
  std::vector<at::Tensor> latents;
  for (int i = 0; i < 6; ++i) {
    latents.push_back(run.batches.next().latents);
    sizes.push_back(latents.back().size(0));
  }
  EXPECT_EQ(sizes, (std::vector<int64_t>{2, 2, 1, 2, 2, 1}));
  EXPECT_TRUE(latents[1].equal(latents[4]));
}

TEST_F(RunTest, LatentsComeBackFromShards) {
  LmdbLatentsWriter writer(folder_ / "data", 2);
  std::vector<at::Tensor> rows;
  for (int i = 0; i < 5; ++i) {
    rows.push_back(at::randn({3, 4, 2, 2}).to(at::kHalf).to(at::kFloat));
    EXPECT_TRUE(writer.add("prompt " + std::to_string(i), rows.back()));
  }
  EXPECT_FALSE(writer.add("prompt 3", rows[0]));
  EXPECT_NE(message_of([&] {
              writer.add("other", at::zeros({2, 4, 2, 2}));
            }).find("all rows of a data set have one shape"),
            std::string::npos);
  writer.finish();
  const LmdbLatents data(folder_ / "data");
  ASSERT_EQ(data.size(), 5);
  EXPECT_EQ(data.prompt(3), "prompt 1");  // shard 0 has rows 0, 2, 4
  EXPECT_TRUE(data.latents(3).equal(rows[1].transpose(0, 1)));
  EXPECT_EQ(data.shard_shape(0), (std::vector<int64_t>{3, 3, 4, 2, 2}));
}

TEST_F(RunTest, SaysWhichRowIsNotWhatTheShapeSays) {
  {
    io::LmdbWriter writer(folder_ / "data.mdb");
    writer.put("latents_shape", "1 3 4 2 2");
    writer.put("latents_0_data", std::string(7, 'x'));
    writer.put("prompts_0_data", "a");
    writer.finish();
  }
  const std::string message = message_of([&] { LmdbLatents(folder_ / "data.mdb"); });
  EXPECT_NE(message.find("latents_0_data has 7 bytes, not the 96 of latents_shape [1, 3, 4, 2, 2]"),
            std::string::npos)
      << message;
}

}  // namespace
}  // namespace monarch::training
