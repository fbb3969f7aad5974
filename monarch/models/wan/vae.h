// The Wan2.1 video VAE: pixels [B, 3, T, H, W] in [-1, 1] <-> latents [B, C, F, h, w], 4x in time
// and 8x in space with the published configuration. T = 1 + 4(F-1). Both halves run chunk by chunk
// with cached frames, so a video can be coded while it is made and memory does not grow with its
// length.
//
// Differentiable in inputs and parameters; runs in the type and on the device of its parameters.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

// Keys as in the original's configuration (its spelling of temperal_downsample included).
struct VaeConfig {
  int64_t dim = 96;                              // width of the first stage
  int64_t z_dim = 16;                            // latent channels
  std::vector<int64_t> dim_mult = {1, 2, 4, 4};  // width of each stage in units of dim
  int64_t num_res_blocks = 2;                    // per stage; the decoder has one more
  std::vector<double> attn_scales;               // must be empty: only the middle has attention
  std::vector<bool> temperal_downsample = {false, true,
                                           true};  // per down stage: also halve the frame rate?
  std::vector<double>
      latent_mean;  // [z_dim]; default: the published 16 values, or 0 for another z_dim
  std::vector<double> latent_std;  // [z_dim]; default: the published 16 values, or 1

  // Missing keys keep the published values; unknown keys are errors.
  static VaeConfig from_json(const Json& json);
  Json to_json() const;
  // Fills latent_mean and latent_std where empty and throws on what cannot be built.
  void complete();

  int64_t temporal_factor() const;                  // 4
  int64_t spatial_factor() const;                   // 8
  int64_t num_frames(int64_t latent_frames) const;  // pixel frames of so many latent frames
  int64_t num_latent_frames(int64_t frames) const;  // latent frames of so many pixel frames
  int64_t frames_per_group() const;                 // pixel frames encoded at once after the first
};

enum class VaePart { kBoth, kEncoder, kDecoder };

// Names and shapes of the parameters, as in Wan2.1_VAE.pth.
ShapeMap parameter_shapes(const VaeConfig& config, VaePart part = VaePart::kBoth);

// Float32 parameters to train from: uniform in +-1/sqrt(fan-in), norms one, the attention's output
// zero. Same seed, same bits.
TensorMap random_parameters(const VaeConfig& config, uint64_t seed, VaePart part = VaePart::kBoth);

// What a stream has seen: owned by the caller, one per stream. Copying is cheap and gives an
// independent stream, as tensors in it are never changed in place.
struct VaeCache {
  std::vector<at::Tensor> slots;   // per causal convolution: its last input frames [B, n, H, W, C]
  at::Tensor pending;              // encoder: frames that do not fill a group yet [B, n, H, W, 3]
  std::array<int64_t, 3> sizes{};  // batch, height and width of what goes in
  bool started = false;            // a first chunk has passed

  void clear() { *this = VaeCache(); }
  void detach();  // cuts the gradient to earlier chunks
};
using VaeDecodeCache = VaeCache;
using VaeEncodeCache = VaeCache;

class WanVae {
 public:
  // Takes the parameters of `part` and ignores those of the other half. Tensors are shared with the
  // map, so training updates them in place. Throws one error listing every missing, misshapen and
  // unknown parameter.
  WanVae(VaeConfig config, const TensorMap& parameters, VaePart part = VaePart::kBoth);
  ~WanVae();
  WanVae(WanVae&&) noexcept;
  WanVae& operator=(WanVae&&) noexcept;

  // Normalised latent mean [B, C, F, h, w] of video [B, 3, T, H, W] in [-1, 1]; no sampling. F = 1
  // + (T-1)/4: trailing frames that do not fill a group of four have no effect. H and W are best
  // multiples of 8; otherwise each halving rounds down.
  at::Tensor encode(const at::Tensor& video) const;

  // The next frames of a stream; any number at a time. Returns the latent frames they complete,
  // perhaps none. Concatenated results equal encode() of the concatenated frames exactly.
  at::Tensor encode_chunk(const at::Tensor& frames, VaeEncodeCache& cache) const;

  // Pixels [B, 3, T, H, W] of latents [B, C, F, h, w]; not clamped to [-1, 1].
  at::Tensor decode(const at::Tensor& latent) const;

  // The next latent frames of a stream. The first after clear() yields one pixel frame, every other
  // yields four. Concatenated results equal decode() of the concatenated latents exactly.
  at::Tensor decode_chunk(const at::Tensor& latent, VaeDecodeCache& cache) const;

  const VaeConfig& config() const { return config_; }

 private:
  struct Encoder;
  struct Decoder;
  VaeConfig config_;
  at::Tensor latent_mean_, latent_inverse_std_;  // [z_dim] float32
  std::unique_ptr<const Encoder> encoder_;
  std::unique_ptr<const Decoder> decoder_;
};

}  // namespace monarch::models
