// The flow-matching noise schedule: x_t = (1 - sigma) x_0 + sigma noise, flow = noise - x_0.
//
// A table of noise levels (sigma, 0 clean to 1 noise) and their timesteps (0 to
// num_train_timesteps). Every look-up goes to the nearest entry, the first one on ties: with the
// Self-Forcing table of shift 5 the timestep 0 means sigma 0.00498.
//
// Timesteps broadcast over the sample: a timestep tensor of lower rank names the sample's leading
// axes ([B] or [B, F] for [B, F, C, H, W]); one of the same rank broadcasts as it is (see
// frame_timestep).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace monarch::sampling {

struct FlowMatchConfig {
  std::int64_t num_train_timesteps = 1000;
  double shift = 3.0;
  double sigma_max = 1.0;
  double sigma_min = 0.003 / 1.002;
  bool inverse_timesteps = false;  // ascending table
  bool extra_one_step = false;     // n + 1 points, the last one dropped
  bool reverse_sigmas = false;     // 1 - sigma
  std::int64_t num_inference_steps = 100;
  double denoising_strength = 1.0;
  bool training = false;  // builds the loss weights

  // The table every Self-Forcing and MonarchRT model is trained with: 1000 steps from 1 down to,
  // but without, 0.
  static FlowMatchConfig self_forcing(double shift);
  // Reads the keys of the same names; unknown keys are errors.
  static FlowMatchConfig from_json(const nlohmann::json& config);
};

// Const after construction; safe to share between threads.
class FlowMatchSchedule {
 public:
  explicit FlowMatchSchedule(const FlowMatchConfig& config);

  const FlowMatchConfig& config() const { return config_; }
  const at::Tensor& timesteps() const { return timesteps_; }  // [n] float32, CPU
  const at::Tensor& sigmas() const { return sigmas_; }        // [n] float32, CPU
  // Loss weights [n] float32, mean one; fails unless config.training.
  const at::Tensor& weights() const;

  at::Tensor index(const at::Tensor& timestep) const;  // nearest entry, int64, the timestep's shape
  at::Tensor sigma(const at::Tensor& timestep) const;  // float32, the timestep's shape

  // (1 - sigma) sample + sigma noise, computed in float32, in the noise's type.
  at::Tensor add_noise(const at::Tensor& sample, const at::Tensor& noise,
                       const at::Tensor& timestep) const;
  // One Euler step: sample + flow * (sigma_next - sigma). As in the original, sigma_next is the
  // final level for the whole batch as soon as one element is at the last entry, or when to_final
  // is set.
  at::Tensor step(const at::Tensor& flow, const at::Tensor& timestep, const at::Tensor& sample,
                  bool to_final = false) const;
  at::Tensor training_target(const at::Tensor& sample, const at::Tensor& noise) const;
  at::Tensor training_weight(const at::Tensor& timestep) const;  // float32, the timestep's shape

  // x_0 = x_t - sigma flow and its inverse; in float64, in the type of the prediction given first.
  at::Tensor flow_to_x0(const at::Tensor& flow, const at::Tensor& x_t,
                        const at::Tensor& timestep) const;
  at::Tensor x0_to_flow(const at::Tensor& x0, const at::Tensor& x_t,
                        const at::Tensor& timestep) const;

  // Denoising steps d as timesteps: entry num_train_timesteps - d of the table with a 0 appended.
  // [steps] float32.
  std::vector<float> warp(std::span<const std::int64_t> denoising_steps) const;

 private:
  FlowMatchConfig config_;
  at::Tensor sigmas_, timesteps_, weights_;
};

// [B, F] per-frame timesteps as [B, 1, F, 1, 1], to broadcast over latents [B, C, F, H, W].
at::Tensor frame_timestep(const at::Tensor& timestep);

}  // namespace monarch::sampling
