// Latents of shapes videos, encoded when first asked for and kept in a file, so that a denoiser
// sees each several times.
#pragma once

#include <filesystem>
#include <functional>
#include <mutex>

#include "monarch/training/data/shapes_dataset.h"

namespace monarch::training {

class LatentPool {
 public:
  // scene -> latent [C, F, h, w], already normalised
  using Encode = std::function<at::Tensor(const ShapesScene& scene)>;

  // `file` keeps `size` latents of `shape` [C, F, h, w] in float16, with a mark for each that is
  // there; it is created when missing, and an error when it belongs to something else. `key` names
  // what the latents depend on.
  LatentPool(const std::filesystem::path& file, const std::string& key, ShapesDataset data,
             int64_t size, std::vector<int64_t> shape, Encode encode);
  ~LatentPool();
  LatentPool(const LatentPool&) = delete;
  LatentPool& operator=(const LatentPool&) = delete;

  int64_t size() const { return size_; }
  const std::vector<int64_t>& shape() const { return shape_; }  // [C, F, h, w] of one latent
  const ShapesDataset& data() const { return data_; }
  // float32. Safe to call from several threads.
  at::Tensor latent(int64_t index, const ShapesScene& scene) const;

 private:
  ShapesDataset data_;
  int64_t size_;
  std::vector<int64_t> shape_;
  Encode encode_;
  at::Tensor latents_;  // [size, C, F, h, w] over the mapped file
  std::uint8_t* mapped_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace monarch::training
