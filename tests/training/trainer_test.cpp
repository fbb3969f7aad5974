#include "monarch/training/trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "monarch/base/error.h"
#include "monarch/training/checkpoint.h"

namespace monarch::training {
namespace {

// Linear regression on data drawn from the step.
class LineRecipe : public Recipe {
 public:
  explicit LineRecipe(double poison_at = -1) : poison_at_(poison_at) {
    parameters_["weight"] = at::zeros({4, 3});
    parameters_["bias"] = at::zeros({4});
  }
  std::string name() const override { return "line"; }
  const models::TensorMap& parameters() const override { return parameters_; }
  int64_t samples(int64_t /*step*/) const override { return 8; }
  at::Tensor loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                  int64_t parts) const override {
    auto generator =
        at::detail::createCPUGenerator(static_cast<std::uint64_t>(step * parts + part));
    const at::Tensor x = at::randn({8 / parts, 3}, generator, at::kFloat);
    const at::Tensor truth = at::arange(12, at::kFloat).view({4, 3});
    const at::Tensor y = at::linear(x, truth) + 1;
    at::Tensor loss =
        at::mse_loss(at::linear(x, parameters.at("weight"), parameters.at("bias")), y);
    if (static_cast<double>(step) == poison_at_) loss = loss / 0.0;
    return loss;
  }

 private:
  double poison_at_;
  models::TensorMap parameters_;
};

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "monarch_train_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  TrainerOptions options(const std::string& name) const {
    TrainerOptions options;
    options.out = folder_ / name;
    options.steps = 60;
    options.lr = 0.1;
    options.warmup = 5;
    options.log_every = 10;
    options.ema_decay = 0.9;
    return options;
  }
  std::filesystem::path folder_;
};

TEST_F(TrainerTest, LearnsALine) {
  LineRecipe recipe;
  TrainerOptions long_run = options("run");
  long_run.steps = 400;
  long_run.lr = 0.3;
  const TrainingResult result = train(recipe, long_run);
  EXPECT_EQ(result.step, 400);
  EXPECT_LT(result.loss, 0.05);
  EXPECT_NEAR(result.average.at("bias").mean().item<double>(), 1.0, 0.1);
}

// bfloat16 products see the parameters of their own step, and round only themselves.
TEST_F(TrainerTest, MixedPrecisionLearnsTheSameLine) {
  TrainerOptions run = options("mixed");
  run.steps = 400;
  run.lr = 0.3;
  run.mixed_precision = true;
  LineRecipe recipe;
  const TrainingResult result = train(recipe, run);
  EXPECT_LT(result.loss, 0.05);
  EXPECT_NEAR(result.average.at("bias").mean().item<double>(), 1.0, 0.1);
  EXPECT_EQ(result.average.at("weight").scalar_type(), at::kFloat);
  const LineRecipe exact;  // nothing is left behind on this thread
  EXPECT_EQ(exact.loss(exact.parameters(), 0, 0, 1).scalar_type(), at::kFloat);
  EXPECT_EQ(at::linear(at::ones({2, 3}), at::ones({4, 3})).scalar_type(), at::kFloat);
}

// Stopped after 23 steps and continued: the same bits as never stopped, with AdamW and with Muon.
TEST_F(TrainerTest, ContinuingEqualsNotStopping) {
  for (const bool muon : {false, true}) {
    const auto configure = [&](TrainerOptions trainer) {
      if (muon) trainer.muon = [](const std::string& name) { return name == "weight"; };
      return trainer;
    };
    LineRecipe whole;
    train(whole, configure(options(muon ? "whole_muon" : "whole")));

    TrainerOptions first = configure(options(muon ? "parts_muon" : "parts"));
    int polls = 0;
    first.stop = [&] { return ++polls == 23; };
    LineRecipe before;
    const TrainingResult stopped = train(before, first);
    EXPECT_TRUE(stopped.stopped);
    EXPECT_EQ(stopped.step, 23);

    TrainerOptions second = configure(options(muon ? "parts_muon" : "parts"));
    second.resume = true;
    LineRecipe after;
    train(after, second);
    for (const auto& [name, tensor] : whole.parameters())
      EXPECT_TRUE(tensor.equal(after.parameters().at(name))) << name;
    const auto a =
        load_tensors(folder_ / (muon ? "whole_muon" : "whole") / "line.state.safetensors");
    const auto b =
        load_tensors(folder_ / (muon ? "parts_muon" : "parts") / "line.state.safetensors");
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, tensor] : a.tensors)
      EXPECT_TRUE(tensor.equal(b.tensors.at(name))) << name;
  }
}

TEST_F(TrainerTest, WritesTheLossCurve) {
  LineRecipe recipe;
  train(recipe, options("run"));
  std::ifstream file(folder_ / "run" / "line.loss.jsonl");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["step"].get<int>(), 10 * (lines + 1));
    EXPECT_GT(json["samples_per_second"].get<double>(), 0);
    EXPECT_GT(json["lr"].get<double>(), 0);
    EXPECT_GT(json["peak_memory_gib"].get<double>(), 0);
    EXPECT_EQ(json["seconds_left"].get<double>() > 0, lines < 5);
  }
  EXPECT_EQ(lines, 6);
  EXPECT_FALSE(std::filesystem::is_empty(folder_ / "run" / "line"));  // TensorBoard's
}

TEST_F(TrainerTest, ScheduleRisesHoldsAndFalls) {
  TrainerOptions schedule;
  schedule.steps = 100;
  schedule.warmup = 10;
  schedule.lr = 1.0;
  schedule.decay_from = 0.5;
  EXPECT_DOUBLE_EQ(scheduled_lr(schedule, 0), 0.1);
  EXPECT_DOUBLE_EQ(scheduled_lr(schedule, 9), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(schedule, 50), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(schedule, 75), 0.5);
  EXPECT_DOUBLE_EQ(scheduled_lr(schedule, 100), 0.01);
}

TEST_F(TrainerTest, SaysWhatIsWrong) {
  LineRecipe poisoned(3);
  try {
    train(poisoned, options("poisoned"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] the loss of line became inf at step 3; lower the learning "
                 "rate and resume from "
                 "the last state");
  }
  LineRecipe recipe;
  TrainerOptions resumed = options("nothing");
  resumed.resume = true;
  EXPECT_THROW(train(recipe, resumed), Error);

  // The state of another recipe.
  train(recipe, options("run"));
  TrainingState state = load_tensors(folder_ / "run" / "line.state.safetensors");
  state.metadata["recipe"] = "circle";
  save_tensors(folder_ / "run" / "line.state.safetensors", state.tensors, state.metadata);
  resumed.out = folder_ / "run";
  try {
    train(recipe, resumed);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "[monarch_training] " +
                                             (folder_ / "run" / "line.state.safetensors").string() +
                                             " is not a state of the recipe 'line'");
  }
}

}  // namespace
}  // namespace monarch::training
