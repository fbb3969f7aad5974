// Every random number of a training step. Losses and simulations draw from this alone, so a step
// can be repeated, resumed, and replayed with recorded numbers.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "monarch/pipelines/noise.h"

namespace monarch::training {

// `what` names a draw ("noise", "renoise.0.1"): a recording is looked up by it.
class Draws {
 public:
  virtual ~Draws() = default;

  // Standard normal [B, C, F, H, W] with the type and device of `options`.
  virtual at::Tensor normal(const std::string& what, const pipelines::LatentShape& shape,
                            const at::TensorOptions& options) = 0;
  // Integers in [low, high), int64 on the CPU.
  virtual at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                              at::IntArrayRef shape) = 0;
  // The same integers on all ranks of a distributed run: what decides how often networks are
  // called, and those calls are collective.
  virtual at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                                     at::IntArrayRef shape) = 0;
};

// Draws of one step on one rank, a function of the three numbers alone: the step number is all the
// random state that a resumed run needs.
class SeededDraws : public Draws {
 public:
  SeededDraws(std::uint64_t seed, int64_t step, int64_t rank = 0);

  at::Tensor normal(const std::string& what, const pipelines::LatentShape& shape,
                    const at::TensorOptions& options) override;
  at::Tensor integers(const std::string& what, int64_t low, int64_t high,
                      at::IntArrayRef shape) override;
  at::Tensor common_integers(const std::string& what, int64_t low, int64_t high,
                             at::IntArrayRef shape) override;

 private:
  at::Generator own_, common_;
};

// Size of latents [B, C, F, H, W].
pipelines::LatentShape shape_of(const at::Tensor& latents);

}  // namespace monarch::training
