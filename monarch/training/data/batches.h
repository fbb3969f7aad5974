// Batches of prompts, or of latents with prompts, in the originals' order: one permutation, the
// same in every pass; ranks take turns; the last batch of a pass may be smaller.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "monarch/training/recipe.h"
#include "monarch/training/team.h"

namespace monarch::training {

// Prompts to embeddings [n, L, text_dim].
using TextEncoder = std::function<at::Tensor(std::span<const std::string> prompts)>;

// Clean latents with their prompts.
class LatentData {
 public:
  virtual ~LatentData() = default;
  virtual int64_t size() const = 0;
  virtual at::Tensor latents(int64_t index) const = 0;  // [C, F, H, W] float32
  virtual std::string prompt(int64_t index) const = 0;
};

class DataBatches : public BatchSource {
 public:
  // Of `prompts` alone.
  DataBatches(std::vector<std::string> prompts, TextEncoder encode, int64_t batch_size,
              const Team& team);
  // Latents take the type and device of `options`.
  DataBatches(std::shared_ptr<const LatentData> data, TextEncoder encode, int64_t batch_size,
              const Team& team, const at::TensorOptions& options);

  Batch next() override;
  int64_t position() const override { return position_; }
  void seek(int64_t position) override { position_ = position; }

 private:
  std::vector<std::string> prompts_;
  std::shared_ptr<const LatentData> data_;
  TextEncoder encode_;
  int64_t batch_size_;
  at::TensorOptions options_;
  std::vector<int64_t> order_;  // of one pass
  int64_t position_ = 0;
};

}  // namespace monarch::training
