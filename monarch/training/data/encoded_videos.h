// Latents made of videos, images or shapes scenes by a VAE, when they are asked for.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "monarch/models/wan/vae.h"
#include "monarch/training/data/batches.h"

namespace monarch::training {

// Size of the videos that go into the VAE.
struct VideoSize {
  int64_t width = 832;
  int64_t height = 480;
  int64_t frames = 81;  // 1 + 4 n
};

struct Clip {
  std::string prompt;
  std::function<at::Tensor()> pixels;  // [1, 3, T, H, W] in [-1, 1]
};

// Every video (with one frame: every image) of a folder, in the order of names, cut to size.frames
// and scaled. The prompt of NAME.mp4 is the text of NAME.txt. Throws, naming the file, where that
// is missing, empty or not UTF-8; reading a clip throws if it has fewer frames.
std::vector<Clip> clips_of_folder(const std::filesystem::path& folder, const VideoSize& size);

// Videos of the shapes world, numbers 0 to count - 1 of a seed.
std::vector<Clip> clips_of_shapes(int64_t count, std::uint64_t seed, const VideoSize& size);

class EncodedVideos : public LatentData {
 public:
  // With `keep` each is encoded once and kept in memory as float16, the precision of stored
  // latents. The VAE must outlive it; it computes in the type of `options`.
  EncodedVideos(std::vector<Clip> clips, const models::WanVae& vae, at::TensorOptions options,
                bool keep);

  int64_t size() const override { return static_cast<int64_t>(clips_.size()); }
  at::Tensor latents(int64_t index) const override;
  std::string prompt(int64_t index) const override {
    return clips_.at(static_cast<size_t>(index)).prompt;
  }

 private:
  std::vector<Clip> clips_;
  const models::WanVae& vae_;
  at::TensorOptions options_;
  bool keep_;
  mutable std::map<int64_t, at::Tensor> kept_;
};

}  // namespace monarch::training
