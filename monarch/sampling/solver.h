// Many-step solvers of the flow's differential equation dx/dsigma = flow(x, sigma), from sigma near
// 1 to 0.
//
//   auto solver = make_solver({.name = "unipc", .num_steps = 50, .shift = 5.0});
//   for (int64_t i = 0; i < solver->num_steps(); ++i) x = solver->step(flow(x,
//   solver->timesteps()[i]), x);
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "monarch/sampling/sigma_grid.h"

namespace monarch::sampling {

struct SolverOptions {
  std::string name = "unipc";  // "unipc", "dpm++" or "euler"
  std::int64_t num_steps = 50;
  double shift = 5.0;
  std::int64_t num_train_timesteps = 1000;
  std::int64_t order = 2;         // unipc 1 and up, dpm++ 1 to 3
  std::string solver_type = "";   // unipc "bh2"; dpm++ "midpoint" or "heun"; empty: the first
  bool lower_order_final = true;  // fall back to lower orders at the end
};

// Holds one trajectory's history; not shared between trajectories or threads.
class Solver {
 public:
  virtual ~Solver() = default;

  const std::vector<std::int64_t>& timesteps() const { return grid_.timesteps; }  // [num_steps]
  const std::vector<double>& sigmas() const { return grid_.sigmas; }              // [num_steps + 1]
  std::int64_t num_steps() const { return static_cast<std::int64_t>(grid_.timesteps.size()); }
  std::int64_t next_step() const { return step_; }

  // Advances x by one step, given the flow predicted at timesteps()[next_step()]. Computes in
  // float32 at least; the result has x's type. Fails after the last step.
  at::Tensor step(const at::Tensor& flow, const at::Tensor& x);

 protected:
  explicit Solver(SigmaGrid grid) : grid_(std::move(grid)) {}

  double sigma(std::int64_t i) const { return grid_.sigmas[static_cast<size_t>(i)]; }
  double alpha(std::int64_t i) const { return 1.0 - sigma(i); }
  double lambda(std::int64_t i) const;  // log(alpha / sigma); infinite at the ends, as intended

  // `i` is the step's index; flow and x have the same floating type.
  virtual at::Tensor advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) = 0;

 private:
  SigmaGrid grid_;
  std::int64_t step_ = 0;
};

std::unique_ptr<Solver> make_solver(const SolverOptions& options);

// flow = denoiser(x_t, timestep [B], step); both latents have the same shape. `step` counts the
// denoising steps from 0, for models that change with it: the timestep may lie on a GPU, where
// reading it would wait for all that is queued.
using Denoiser =
    std::function<at::Tensor(const at::Tensor& x_t, const at::Tensor& timestep, std::int64_t step)>;

}  // namespace monarch::sampling
