#include "monarch/sampling/sigma_grid.h"

#include "monarch/base/error.h"

namespace monarch::sampling {

SigmaGrid make_sigma_grid(double start, std::int64_t num_steps, double shift,
                          std::int64_t num_train_timesteps) {
  MONARCH_CHECK(num_steps >= 1 && num_steps <= 100000, "[monarch_sampling] the number of steps is ",
                num_steps, "; give a number from 1 to 100000");
  MONARCH_CHECK(shift > 0 && shift < 1e6, "[monarch_sampling] the timestep shift is ", shift,
                "; it must be above 0 (1 leaves the schedule as it is, 5 is usual)");
  MONARCH_CHECK(num_train_timesteps >= 1, "[monarch_sampling] num_train_timesteps is ",
                num_train_timesteps, "; it must be at least 1 (1000 is usual)");
  SigmaGrid grid;
  const double step = (0.0 - start) / static_cast<double>(num_steps);
  for (std::int64_t i = 0; i < num_steps; ++i) {
    const double s = start + static_cast<double>(i) * step;
    const double sigma = (shift * s) / (1.0 + (shift - 1.0) * s);
    grid.timesteps.push_back(
        static_cast<std::int64_t>(sigma * static_cast<double>(num_train_timesteps)));
    grid.sigmas.push_back(static_cast<double>(static_cast<float>(sigma)));
  }
  grid.sigmas.push_back(0.0);
  return grid;
}

}  // namespace monarch::sampling
