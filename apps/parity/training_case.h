// What the training cases share: recorded draws, resolved recipe values, networks.
#pragma once

#include <string>

#include "apps/parity/registry.h"
#include "monarch/training/draws.h"
#include "monarch/training/recipe.h"
#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/recipes/distillation.h"

namespace monarch::apps {

// The draws that a case recorded as input.<prefix><name>.
class RecordedDraws : public training::Draws {
 public:
  explicit RecordedDraws(const ParityInput& in, std::string prefix = "")
      : in_(in), prefix_(std::move(prefix)) {}

  at::Tensor normal(const std::string& what, const pipelines::LatentShape& shape,
                    const at::TensorOptions& options) override;
  // Also checks that the recorded numbers lie in the range.
  at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                      at::IntArrayRef shape) override;
  at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                             at::IntArrayRef shape) override;

 private:
  const ParityInput& in_;
  std::string prefix_;
};

// Batches input.<prefix>clean_latent and input.<prefix>prompt_embeds, one a prefix.
class RecordedBatches : public training::BatchSource {
 public:
  RecordedBatches(const ParityInput& in, std::vector<std::string> prefixes)
      : in_(in), prefixes_(std::move(prefixes)) {}
  training::Batch next() override;
  int64_t position() const override { return static_cast<int64_t>(used_); }
  void seek(int64_t position) override { used_ = static_cast<size_t>(position); }

 private:
  const ParityInput& in_;
  std::vector<std::string> prefixes_;
  size_t used_ = 0;
};

at::Tensor latents_of(const ParityInput& in, const std::string& name);

// The network "generator", "fake_score" or "real_score"; attention and chunks are the generator's.
models::WanConfig network_config(const ParityInput& in, const std::string& module);
models::TensorMap network_parameters(const ParityInput& in, const std::string& module);

training::DiffusionOptions diffusion_options(const ParityInput& in);
training::DistillationOptions distillation_options(const ParityInput& in);
training::DistillationRecipe distillation_recipe(const ParityInput& in);

// grad.<module>.* of what the case selects, and expect.grad_norm over all; of the gradients that
// backward passes left.
void add_parameter_gradients(const ParityInput& in, const std::string& module,
                             const models::TensorMap& parameters, ParityOutput& out);

// Adds expect.after.<module>.* and checks the change since `before` with the case's
// delta_rel_l2_tolerance.
void add_parameters_after(const ParityInput& in, const std::string& module,
                          const models::TensorMap& before, const models::TensorMap& after,
                          ParityOutput& out);

}  // namespace monarch::apps
