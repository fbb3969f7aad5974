// The float64 noise-level grids of the multistep solvers.
//
// Point i is start + i*step with step = (stop - start)/num_steps, product and sum rounded
// separately: some timesteps lie just below an integer and are truncated (10 steps with shift 3
// give 874 and 249, not 875 and 250), and one unit of the timestep changes the model's output
// visibly. Hence no fused multiply-add and no filling from both ends.
#pragma once

#include <cstdint>
#include <vector>

namespace monarch::sampling {

struct SigmaGrid {
  std::vector<double> sigmas;           // [num_steps + 1], rounded to float32, the last one is 0
  std::vector<std::int64_t> timesteps;  // [num_steps], truncated num_train_timesteps * sigma
};

// The first num_steps points from `start` towards 0, warped by shift*s / (1 + (shift-1)*s).
SigmaGrid make_sigma_grid(double start, std::int64_t num_steps, double shift,
                          std::int64_t num_train_timesteps);

}  // namespace monarch::sampling
