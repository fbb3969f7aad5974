// What a run says about its iterations, on the console, as JSON lines and to TensorBoard.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace monarch::training {

// In the order in which they are shown: "generator_loss", "generator_grad_norm", "generator_lr",
// ..., and those of every run:
//   samples_per_second   of all ranks together
//   seconds_left         until the last iteration, at the pace so far
//   peak_memory_gib      most that this process had resident
using Metrics = std::vector<std::pair<std::string, double>>;

// Appends the last three.
void add_pace(Metrics& metrics, double samples_per_second, double seconds_left);

// "  generator_loss 0.25  ...  12 min left"
std::string console_text(const Metrics& metrics);

// {"step": 3, "generator_loss": 0.25, ...}
std::string json_line(std::int64_t step, const Metrics& metrics);

}  // namespace monarch::training
