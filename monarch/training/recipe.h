// What a training recipe is to the engine: iterations, and state to save.
#pragma once

#include <ATen/ATen.h>

#include "monarch/models/wan/weights.h"
#include "monarch/training/draws.h"
#include "monarch/training/metrics.h"

namespace monarch::training {

struct Batch {
  at::Tensor context;  // [B, L, text_dim], embedded prompts
  at::Tensor latents;  // [B, C, F, H, W], clean; undefined where a recipe needs prompts only
};

// Batches without end, in an order that depends on nothing but how many were taken.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual Batch next() = 0;
  // How many were taken; and going on from there.
  virtual int64_t position() const = 0;
  virtual void seek(int64_t position) = 0;
};

class IterativeRecipe {
 public:
  virtual ~IterativeRecipe() = default;
  // One iteration: losses, gradients, updates, averages. `step` counts from 0.
  virtual Metrics iterate(int64_t step, BatchSource& batches, Draws& draws) = 0;
  // Everything that iterations change, in the originals' names: "generator.model.*",
  // "generator_ema.model.*", "critic.model.*"; and "optimizer.*". Tensors share memory with the
  // recipe's.
  virtual models::TensorMap state() const = 0;
  // Throws if a tensor is missing or has another shape.
  virtual void load_state(const models::TensorMap& state) = 0;
};

}  // namespace monarch::training
