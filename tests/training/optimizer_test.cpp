#include <gtest/gtest.h>

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/training/adamw.h"
#include "monarch/training/ema.h"
#include "monarch/training/muon.h"

namespace monarch::training {
namespace {

void set_gradient(const at::Tensor& parameter, const at::Tensor& gradient) {
  parameter.mutable_grad() = gradient.clone();
}

// The update written out in double.
TEST(AdamW, FollowsTheFormula) {
  const models::TensorMap parameters{{"w", at::randn({2, 3})}};
  const AdamWOptions options{.beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1};
  AdamW optimizer(parameters, options);
  at::Tensor expected = parameters.at("w").to(at::kDouble);
  at::Tensor first = at::zeros({2, 3}, at::kDouble);
  at::Tensor second = at::zeros({2, 3}, at::kDouble);
  for (int step = 1; step <= 3; ++step) {
    const at::Tensor gradient = at::randn({2, 3});
    set_gradient(parameters.at("w"), gradient);
    optimizer.step(0.01);
    first = 0.9 * first + 0.1 * gradient;
    second = 0.95 * second + 0.05 * gradient.to(at::kDouble).square();
    expected =
        expected * (1 - 0.01 * 0.1) - 0.01 * (first / (1 - std::pow(0.9, step))) /
                                          ((second / (1 - std::pow(0.95, step))).sqrt() + 1e-8);
  }
  EXPECT_TRUE(parameters.at("w").to(at::kDouble).allclose(expected, 1e-5, 1e-6));
  EXPECT_FALSE(parameters.at("w").grad().defined());
}

TEST(AdamW, VectorsDoNotDecay) {
  const models::TensorMap parameters{{"bias", at::ones({4})}};
  AdamW optimizer(parameters, {.weight_decay = 0.5});
  set_gradient(parameters.at("bias"), at::zeros({4}));
  optimizer.step(0.1);
  EXPECT_TRUE(parameters.at("bias").equal(at::ones({4})));
}

TEST(AdamW, RefusesTheStateOfAnotherModel) {
  AdamW optimizer({{"w", at::zeros({2, 3})}}, {});
  try {
    optimizer.load_state({{"m.w", at::zeros({3, 3})}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] the optimizer state has no tensor 'm.w' of shape [2, 3]; it "
                 "belongs to another "
                 "model, so start without --resume");
  }
}

TEST(Muon, UpdatesAreNearlyOrthogonal) {
  const at::Tensor update = orthogonalise(at::randn({2, 16, 48}), 5);
  const at::Tensor gram = at::bmm(update, update.transpose(1, 2));
  const at::Tensor diagonal = gram.diagonal(0, 1, 2);
  EXPECT_GT(diagonal.min().item<double>(), 0.3);
  EXPECT_LT(diagonal.max().item<double>(), 1.6);
}

TEST(Muon, StepHasTheSizeItPromises) {
  const models::TensorMap parameters{{"tall", at::zeros({48, 16})}, {"wide", at::zeros({16, 48})}};
  Muon muon(parameters, [](const std::string&) { return true; }, {});
  for (const auto& [name, parameter] : parameters)
    set_gradient(parameter, at::randn(parameter.sizes()));
  muon.step(0.01);
  for (const auto& [name, parameter] : parameters) {
    EXPECT_NEAR(parameter.square().mean().sqrt().item<double>(), 0.2 * 0.01, 0.0006) << name;
  }
}

TEST(Muon, RefusesTheStateOfAnotherModel) {
  Muon muon({{"w", at::zeros({2, 3})}}, [](const std::string&) { return true; }, {});
  try {
    muon.load_state({});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] the optimizer state has no tensor 'momentum.w' of shape [2, "
                 "3]; it belongs to "
                 "another model, so start without --resume");
  }
}

TEST(Ema, MovesTowardsTheParameters) {
  models::TensorMap parameters{{"w", at::zeros({1})}};
  Ema ema(parameters, 0.9);
  parameters["w"] = at::ones({1});
  ema.update(parameters, 1000);
  EXPECT_NEAR(ema.average().at("w").item<double>(), 0.1, 1e-6);
  ema.update(parameters, 0);  // early: forget quickly
  EXPECT_NEAR(ema.average().at("w").item<double>(), 0.91, 1e-6);
}

TEST(ClipGradients, ScalesTheJointNorm) {
  const models::TensorMap parameters{{"a", at::zeros({1})}, {"b", at::zeros({1})}};
  set_gradient(parameters.at("a"), at::full({1}, 3.0));
  set_gradient(parameters.at("b"), at::full({1}, 4.0));
  EXPECT_NEAR(clip_gradients(parameters, 1.0), 5.0, 1e-6);
  EXPECT_NEAR(parameters.at("a").grad().item<double>(), 0.6, 1e-5);
  EXPECT_NEAR(clip_gradients(parameters, 10.0), 1.0, 1e-5);
}

}  // namespace
}  // namespace monarch::training
