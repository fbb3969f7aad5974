// A DiT small enough that tests train it, and latents for it.
#pragma once

#include <cstdint>
#include <string>

#include "monarch/training/data/lmdb_latents.h"
#include "monarch/training/recipes/diffusion.h"

namespace monarch::training::test {

inline models::WanConfig tiny_dit() {
  models::WanConfig config;
  config.in_dim = config.out_dim = 4;
  config.dim = 24;
  config.ffn_dim = 32;
  config.freq_dim = 16;
  config.text_dim = 8;
  config.text_len = 4;
  config.num_heads = 2;
  config.num_layers = 1;
  config.num_frame_per_block = 2;
  return config;
}

// Latents of noise [frames,4,4,4], the same in every object of this size.
class NoiseLatents : public LatentData {
 public:
  NoiseLatents(int64_t size, int64_t frames) : size_(size), frames_(frames) {}
  int64_t size() const override { return size_; }
  at::Tensor latents(int64_t index) const override {
    return at::randn({4, frames_, 4, 4},
                     pipelines::seeded_generator(static_cast<std::uint64_t>(index)), at::kFloat);
  }
  std::string prompt(int64_t index) const override { return std::to_string(index); }

 private:
  int64_t size_;
  int64_t frames_;
};

}  // namespace monarch::training::test
