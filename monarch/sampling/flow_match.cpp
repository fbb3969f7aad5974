#include "monarch/sampling/flow_match.h"

#include "monarch/base/error.h"
#include "monarch/base/options_reader.h"

namespace monarch::sampling {
namespace {

// Appends axes of size one until `value` broadcasts over `sample`.
at::Tensor spread(const at::Tensor& value, const at::Tensor& sample) {
  MONARCH_CHECK(value.dim() <= sample.dim(), "[monarch_sampling] timestep of shape ",
                shape_string(value.sizes()), " has more axes than the sample ",
                shape_string(sample.sizes()));
  std::vector<int64_t> shape(value.sizes().begin(), value.sizes().end());
  shape.resize(static_cast<size_t>(sample.dim()), 1);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    MONARCH_CHECK(shape[axis] == 1 || shape[axis] == sample.size(static_cast<int64_t>(axis)),
                  "[monarch_sampling] timestep of shape ", shape_string(value.sizes()),
                  " does not match the leading axes of the sample ", shape_string(sample.sizes()));
  }
  return value.reshape(shape);
}

// A small host tensor's copy where `like` lies. A GPU's stream takes it when it gets there: the
// host does not wait.
at::Tensor beside(const at::Tensor& t, const at::Tensor& like, at::ScalarType type = at::kFloat) {
  return t.to(like.device(), type, /*non_blocking=*/like.device().type() != at::kCPU);
}

void check_same_shape(const char* what, const at::Tensor& a, const at::Tensor& b) {
  MONARCH_CHECK(a.sizes() == b.sizes(), "[monarch_sampling] ", what, " have shapes ",
                shape_string(a.sizes()), " and ", shape_string(b.sizes()), "; they must be equal");
}

}  // namespace

FlowMatchConfig FlowMatchConfig::self_forcing(double shift) {
  FlowMatchConfig config;
  config.shift = shift;
  config.sigma_min = 0.0;
  config.extra_one_step = true;
  config.num_inference_steps = 1000;
  config.training = true;
  return config;
}

FlowMatchConfig FlowMatchConfig::from_json(const nlohmann::json& json) {
  FlowMatchConfig config;
  OptionsReader reader(json, "flow_match");
  reader.read("num_train_timesteps", config.num_train_timesteps);
  reader.read("shift", config.shift);
  reader.read("sigma_max", config.sigma_max);
  reader.read("sigma_min", config.sigma_min);
  reader.read("inverse_timesteps", config.inverse_timesteps);
  reader.read("extra_one_step", config.extra_one_step);
  reader.read("reverse_sigmas", config.reverse_sigmas);
  reader.read("num_inference_steps", config.num_inference_steps);
  reader.read("denoising_strength", config.denoising_strength);
  reader.read("training", config.training);
  reader.finish();
  return config;
}

FlowMatchSchedule::FlowMatchSchedule(const FlowMatchConfig& config) : config_(config) {
  const int64_t n = config.num_inference_steps;
  MONARCH_CHECK(n >= 1 && n <= 1000000, "[monarch_sampling] num_inference_steps is ", n,
                "; give a number from 1 to 1000000");
  MONARCH_CHECK(config.num_train_timesteps >= 1, "[monarch_sampling] num_train_timesteps is ",
                config.num_train_timesteps, "; it must be at least 1 (1000 is usual)");
  MONARCH_CHECK(config.shift > 0, "[monarch_sampling] the timestep shift is ", config.shift,
                "; it must be above 0 (1 leaves the schedule as it is, 5 is usual)");
  const double start =
      config.sigma_min + (config.sigma_max - config.sigma_min) * config.denoising_strength;
  const auto points = config.extra_one_step ? n + 1 : n;
  at::Tensor s = at::linspace(start, config.sigma_min, points, at::kFloat).slice(0, 0, n);
  if (config.inverse_timesteps) s = s.flip(0);
  s = config.shift * s / (1 + (config.shift - 1) * s);
  if (config.reverse_sigmas) s = 1 - s;
  sigmas_ = s.contiguous();
  timesteps_ = sigmas_ * static_cast<double>(config.num_train_timesteps);
  if (config.training) {
    const auto count = static_cast<double>(n);
    const at::Tensor y = at::exp(-2 * ((timesteps_ - count / 2) / count).square());
    const at::Tensor lifted = y - y.min();
    weights_ = lifted * (count / lifted.sum());
  }
}

const at::Tensor& FlowMatchSchedule::weights() const {
  MONARCH_CHECK(weights_.defined(),
                "[monarch_sampling] this schedule has no training weights; build it with training "
                "set");
  return weights_;
}

at::Tensor FlowMatchSchedule::index(const at::Tensor& timestep) const {
  const at::Tensor table = beside(timesteps_, timestep, at::kDouble);
  const at::Tensor flat = timestep.detach().reshape({-1, 1}).to(at::kDouble);
  return at::argmin((table.unsqueeze(0) - flat).abs(), 1).reshape(timestep.sizes());
}

at::Tensor FlowMatchSchedule::sigma(const at::Tensor& timestep) const {
  return beside(sigmas_, timestep).index({index(timestep)});
}

at::Tensor FlowMatchSchedule::add_noise(const at::Tensor& sample, const at::Tensor& noise,
                                        const at::Tensor& timestep) const {
  check_same_shape("sample and noise", sample, noise);
  const at::Tensor s = spread(sigma(timestep), sample).to(sample.device());
  return ((1 - s) * sample.to(at::promote_types(sample.scalar_type(), at::kFloat)) + s * noise)
      .to(noise.scalar_type());
}

at::Tensor FlowMatchSchedule::step(const at::Tensor& flow, const at::Tensor& timestep,
                                   const at::Tensor& sample, bool to_final) const {
  check_same_shape("flow and sample", flow, sample);
  const at::Tensor table = beside(sigmas_, timestep);
  const at::Tensor here = index(timestep);
  const at::Tensor now = table.index({here});
  const double final_sigma = config_.inverse_timesteps || config_.reverse_sigmas ? 1.0 : 0.0;
  at::Tensor next = at::full_like(now, final_sigma);
  if (!to_final) {  // also when any entry is the table's last, asked where the tensors lie
    const int64_t end = table.size(0) - 1;
    next = at::where(here.max().ge(end), next, table.index({(here + 1).clamp_max(end)}));
  }
  return sample + flow * spread(next - now, sample).to(sample.device());
}

at::Tensor FlowMatchSchedule::training_target(const at::Tensor& sample,
                                              const at::Tensor& noise) const {
  check_same_shape("sample and noise", sample, noise);
  return noise - sample;
}

at::Tensor FlowMatchSchedule::training_weight(const at::Tensor& timestep) const {
  return beside(weights(), timestep).index({index(timestep)});
}

at::Tensor FlowMatchSchedule::flow_to_x0(const at::Tensor& flow, const at::Tensor& x_t,
                                         const at::Tensor& timestep) const {
  check_same_shape("flow and x_t", flow, x_t);
  const at::Tensor s = spread(sigma(timestep), x_t).to(x_t.device(), at::kDouble);
  return (x_t.to(at::kDouble) - s * flow.to(at::kDouble)).to(flow.scalar_type());
}

at::Tensor FlowMatchSchedule::x0_to_flow(const at::Tensor& x0, const at::Tensor& x_t,
                                         const at::Tensor& timestep) const {
  check_same_shape("x0 and x_t", x0, x_t);
  const at::Tensor s = spread(sigma(timestep), x_t).to(x_t.device(), at::kDouble);
  return ((x_t.to(at::kDouble) - x0.to(at::kDouble)) / s).to(x0.scalar_type());
}

std::vector<float> FlowMatchSchedule::warp(std::span<const std::int64_t> denoising_steps) const {
  const int64_t n = timesteps_.size(0);
  const float* table = timesteps_.const_data_ptr<float>();
  std::vector<float> warped;
  for (const int64_t step : denoising_steps) {
    const int64_t entry = config_.num_train_timesteps - step;
    MONARCH_CHECK(entry >= 0 && entry <= n, "[monarch_sampling] denoising step ", step,
                  " is outside the schedule; give steps from ", config_.num_train_timesteps - n,
                  " to ", config_.num_train_timesteps);
    warped.push_back(entry == n ? 0.0F : table[entry]);
  }
  return warped;
}

at::Tensor frame_timestep(const at::Tensor& timestep) {
  MONARCH_CHECK(timestep.dim() == 2, "[monarch_sampling] per-frame timesteps are [B, F], got ",
                shape_string(timestep.sizes()));
  return timestep.reshape({timestep.size(0), 1, timestep.size(1), 1, 1});
}

}  // namespace monarch::sampling
