// A team's recipes on a tiny model, with samples and draws that depend on nothing but the sample.
#pragma once

#include <memory>
#include <string>

#include "monarch/training/recipes/diffusion.h"
#include "monarch/training/recipes/distillation.h"
#include "tests/training/tiny_dit.h"

namespace monarch::training::test {

// Of `layers` layers.
models::WanConfig tiny(int64_t layers);

// Sample s of an update goes to the team's rank s mod size.
class Samples : public BatchSource {
 public:
  explicit Samples(const Team& team, at::ScalarType type = at::kDouble)
      : team_(team), type_(type) {}
  Batch next() override;
  int64_t position() const override { return position_; }
  void seek(int64_t position) override { position_ = position; }

  // A function of the present sample and `what`.
  at::Tensor random(const std::string& what, at::IntArrayRef shape) const;
  at::Generator generator(const std::string& what) const;

 private:
  const Team& team_;
  at::ScalarType type_;
  int64_t position_ = 0, sample_ = 0;
};

// What is drawn depends on the sample, not on the rank.
class SampleDraws : public Draws {
 public:
  explicit SampleDraws(const Samples& samples) : samples_(samples) {}
  at::Tensor normal(const std::string& what, const pipelines::LatentShape& shape,
                    const at::TensorOptions& options) override;
  at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                      at::IntArrayRef shape) override;
  at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                             at::IntArrayRef shape) override;

 private:
  const Samples& samples_;
};

// float64, with an output layer that is not zero.
models::TensorMap weights(const models::WanConfig& config, std::uint64_t seed);

UpdateOptions updates();

// Recipes whose updates see the same samples in a team of 1, 2 or 4.
std::unique_ptr<IterativeRecipe> diffusion(const Team& team);
std::unique_ptr<IterativeRecipe> checkpointed_diffusion(const Team& team);
std::unique_ptr<IterativeRecipe> distillation(const Team& team);

}  // namespace monarch::training::test
