#include "monarch/sampling/solver.h"

#include <gtest/gtest.h>

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/sampling/guidance.h"
#include "tests/support/message_of.h"

namespace monarch::sampling {
namespace {

// Data x_0 ~ N(mean, spread^2): the flow is known, and so is its path
//   x(sigma) = (1 - sigma) mean + width(sigma) z,   width^2 = (1 - sigma)^2 spread^2 + sigma^2.
constexpr double kMean = 0.7;
constexpr double kSpread = 0.4;

double width(double sigma) { return std::hypot((1 - sigma) * kSpread, sigma); }

at::Tensor exact_path(const at::Tensor& z, double sigma) {
  return z * width(sigma) + (1 - sigma) * kMean;
}

at::Tensor exact_flow(const at::Tensor& x, double sigma) {
  const double slope = (sigma - (1 - sigma) * kSpread * kSpread) / (width(sigma) * width(sigma));
  return (x - (1 - sigma) * kMean) * slope - kMean;
}

// Largest error half way down (sigma near 0.5; the last step is infinitely long in lambda and
// always of first order).
double error_of(SolverOptions options) {
  options.shift = 1.0;
  const auto solver = make_solver(options);
  const at::Tensor z = at::linspace(-2.0, 2.0, 9, at::kDouble);
  at::Tensor x = exact_path(z, solver->sigmas()[0]);
  const auto half = static_cast<size_t>(options.num_steps / 2);
  for (size_t i = 0; i < half; ++i) x = solver->step(exact_flow(x, solver->sigmas()[i]), x);
  return (x - exact_path(z, solver->sigmas()[half])).abs().max().item<double>();
}

struct Case {
  SolverOptions options;
  double order;  // of convergence, at least: halving the step divides the error by 2^order
};

class SolverOrder : public testing::TestWithParam<Case> {};

TEST_P(SolverOrder, ConvergesToTheExactSolution) {
  SolverOptions options = GetParam().options;
  options.num_steps = 100;
  const double coarse = error_of(options);
  options.num_steps = 200;
  const double fine = error_of(options);
  EXPECT_LT(coarse, 0.01);
  EXPECT_GT(std::log2(coarse / fine), GetParam().order - 0.1) << coarse << " " << fine;
}

// The first steps down from sigma 1 are long in lambda, however many there are; that limits the
// orders above 2.
INSTANTIATE_TEST_SUITE_P(
    AllSolvers, SolverOrder,
    testing::Values(Case{{.name = "euler"}, 1}, Case{{.name = "unipc", .order = 1}, 2},
                    Case{{.name = "unipc", .order = 2}, 3},
                    Case{{.name = "unipc", .order = 3}, 2.4},
                    Case{{.name = "dpm++", .order = 1}, 1}, Case{{.name = "dpm++", .order = 2}, 2},
                    Case{{.name = "dpm++", .order = 2, .solver_type = "heun"}, 2},
                    Case{{.name = "dpm++", .order = 3}, 2}),
    [](const auto& info) {
      const SolverOptions& options = info.param.options;
      return (options.name == "dpm++" ? "dpmpp" : options.name) + std::to_string(options.order) +
             options.solver_type;
    });

TEST(Solver, HigherOrdersAreMoreAccurate) {
  for (const char* name : {"unipc", "dpm++"}) {
    double before = 1.0;
    for (int64_t order = 1; order <= 3; ++order) {
      const double error = error_of({.name = name, .num_steps = 100, .order = order});
      EXPECT_LT(error, before) << name << " order " << order;
      before = error;
    }
  }
}

TEST(Solver, OneStepGivesTheCleanPrediction) {
  for (const char* name : {"unipc", "dpm++", "euler"}) {
    const auto solver = make_solver({.name = name, .num_steps = 1});
    const at::Tensor x = at::linspace(-1, 1, 5, at::kDouble);
    const at::Tensor flow = at::linspace(2, 3, 5, at::kDouble);
    const at::Tensor x0 = x - flow * solver->sigmas()[0];
    EXPECT_LT((solver->step(flow, x) - x0).abs().max().item<double>(), 1e-12) << name;
  }
}

TEST(Solver, TruncatesTimestepsOfTheSeparatelyRoundedGrid) {
  const auto ten = make_solver({.name = "dpm++", .num_steps = 10, .shift = 3.0});
  EXPECT_EQ(ten->timesteps()[3], 874);
  EXPECT_EQ(ten->timesteps()[9], 249);
  EXPECT_EQ(make_solver({.name = "unipc", .num_steps = 5, .shift = 5.0})->timesteps(),
            (std::vector<std::int64_t>{999, 952, 882, 768, 555}));
}

TEST(Solver, KeepsTheSampleType) {
  const auto solver = make_solver({.name = "unipc", .num_steps = 4});
  const at::Tensor x = at::ones({2, 3}, at::kBFloat16);
  EXPECT_EQ(solver->step(at::zeros({2, 3}, at::kBFloat16), x).scalar_type(), at::kBFloat16);
}

TEST(Solver, ErrorsSayWhatToDo) {
  EXPECT_EQ(message_of([] { make_solver({.name = "unpic"}); }),
            "[monarch_sampling] unknown solver 'unpic'; use unipc, dpm++ or euler; did you mean "
            "'unipc'?");
  EXPECT_EQ(message_of([] { make_solver({.num_steps = 0}); }),
            "[monarch_sampling] the number of steps is 0; give a number from 1 to 100000");
  EXPECT_EQ(message_of([] { make_solver({.shift = 0.0}); }),
            "[monarch_sampling] the timestep shift is 0; it must be above 0 (1 leaves the schedule "
            "as it is, 5 is usual)");
  EXPECT_EQ(message_of([] { make_solver({.num_train_timesteps = 0}); }),
            "[monarch_sampling] num_train_timesteps is 0; it must be at least 1 (1000 is usual)");
  EXPECT_EQ(message_of([] { make_solver({.name = "dpm++", .order = 4}); }),
            "[monarch_sampling] dpm++ has orders 1, 2 and 3, not 4");
  EXPECT_EQ(message_of([] { make_solver({.name = "dpm++", .solver_type = "bh2"}); }),
            "[monarch_sampling] unknown dpm++ solver_type 'bh2'; use midpoint or heun");
  EXPECT_EQ(message_of([] { make_solver({.order = 9}); }),
            "[monarch_sampling] unipc orders go from 1 to 8, not 9; 2 is usual");
  EXPECT_EQ(message_of([] { make_solver({.solver_type = "bh1"}); }),
            "[monarch_sampling] unipc solver_type 'bh1' cannot reach the final noise level 0; use "
            "bh2");
  EXPECT_EQ(message_of([] { make_solver({.lower_order_final = false}); }),
            "[monarch_sampling] unipc above order 1 needs lower_order_final, because the final "
            "noise level is 0");
  const auto solver = make_solver({.name = "euler", .num_steps = 1});
  const at::Tensor x = at::zeros({2});
  EXPECT_EQ(message_of([&] { solver->step(at::zeros({3}), x); }),
            "[monarch_sampling] flow has shape [3], but x has [2]");
  solver->step(x, x);
  EXPECT_EQ(message_of([&] { solver->step(x, x); }),
            "[monarch_sampling] all 1 steps of this solver have been taken; make a new one");
}

TEST(Guidance, MixesInOrder) {
  std::string order;
  const auto denoiser = with_guidance(
      [&](const at::Tensor& x, const at::Tensor&, std::int64_t step) {
        order += str_cat('c', step);
        return x + 1;
      },
      [&](const at::Tensor& x, const at::Tensor&, std::int64_t step) {
        order += str_cat('u', step);
        return x - 1;
      },
      3.0);
  const at::Tensor mixed = denoiser(at::zeros({2}), at::zeros({1}), 7);
  EXPECT_EQ(order, "c7u7");
  EXPECT_TRUE(at::equal(mixed, at::full({2}, 5.0)));  // -1 + 3 * 2
}

}  // namespace
}  // namespace monarch::sampling
