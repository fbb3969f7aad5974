#include "monarch/training/recipes/kind_probe.h"

#include <vector>

#include "monarch/evaluation/shapes.h"

namespace monarch::training {
namespace {

const std::string kWeight = "kind_probe.weight";
const std::string kBias = "kind_probe.bias";

}  // namespace

at::Tensor KindProbe::logits(const at::Tensor& latents) const {
  return at::conv3d(latents, weight, bias);
}

KindProbe KindProbe::of_normalised(std::span<const double> mean,
                                   std::span<const double> deviation) const {
  std::vector<float> shift(mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c)
    shift[c] = static_cast<float>(mean[c] / deviation[c]);
  return {weight, bias + at::mv(weight.flatten(1), at::tensor(shift))};
}

KindProbe find_probe(const models::TensorMap& parameters) {
  if (!parameters.contains(kWeight)) return {};
  return {parameters.at(kWeight), parameters.at(kBias)};
}

void add_probe(models::TensorMap& parameters, int64_t z_dim, at::Generator generator) {
  const int64_t classes = 1 + evaluation::kNumKinds;
  parameters[kWeight] =
      0.1 * at::randn({classes, z_dim, 1, 1, 1}, std::move(generator), at::kFloat);
  parameters[kBias] = at::zeros({classes});
}

models::TensorMap without_probe(models::TensorMap parameters) {
  parameters.erase(kWeight);
  parameters.erase(kBias);
  return parameters;
}

at::Tensor kind_divergence(const KindProbe& probe, const at::Tensor& denoised,
                           const at::Tensor& clean, const at::Tensor& level) {
  const at::Tensor seen = probe.logits(clean);
  const at::Tensor covered =
      (1 - seen.softmax(1).select(1, 0)) * level.view({-1, 1, 1, 1});  // [B, f, h, w]
  const at::Tensor expected = seen.slice(1, 1).log_softmax(1);
  const at::Tensor told = probe.logits(denoised).slice(1, 1).log_softmax(1);
  return ((expected.exp() * (expected - told)).sum(1) * covered).sum() /
         covered.sum().clamp_min(1e-6);
}

}  // namespace monarch::training
