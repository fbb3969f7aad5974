#include "monarch/models/wan/vae.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "monarch/base/error.h"
#include "monarch/models/wan/vae_layers.h"

namespace monarch::models {
namespace {

at::Tensor channels_last(const at::Tensor& x) { return x.permute({0, 2, 3, 4, 1}).contiguous(); }
at::Tensor channels_first(const at::Tensor& x) { return x.permute({0, 4, 1, 2, 3}); }

void check_rank_and_channels(const at::Tensor& x, int64_t channels, const char* what) {
  MONARCH_CHECK(x.dim() == 5 && x.size(1) == channels, "[monarch_models] the VAE takes ", what,
                " [B, ", channels, ", frames, height, width]; got ", shape_string(x.sizes()));
  MONARCH_CHECK(x.numel() > 0, "[monarch_models] the VAE got an empty tensor ",
                shape_string(x.sizes()));
}

// Prepares the cache at the start of a stream; later checks that the stream goes on with the same
// sizes.
void open_stream(VaeCache& cache, int64_t num_slots, const at::Tensor& x) {
  const std::array<int64_t, 3> sizes = {x.size(0), x.size(3), x.size(4)};
  if (cache.slots.empty()) {
    cache.slots.resize(num_slots);
    cache.sizes = sizes;
    return;
  }
  MONARCH_CHECK(
      static_cast<int64_t>(cache.slots.size()) == num_slots,
      "[monarch_models] this VAE cache belongs to another model or to the other half: it has ",
      cache.slots.size(), " slots instead of ", num_slots, "; use a cache of its own");
  MONARCH_CHECK(cache.sizes == sizes,
                "[monarch_models] the stream began with [batch, height, width] ",
                shape_string(cache.sizes), "; got ", shape_string(sizes),
                "; clear the cache to begin another");
}

}  // namespace

void VaeCache::detach() {
  for (at::Tensor& slot : slots) {
    if (slot.defined()) slot = slot.detach();
  }
  if (pending.defined()) pending = pending.detach();
}

struct WanVae::Encoder {
  Encoder(const VaeConfig& config, VaeBuilder& builder)
      : conv1(builder, "encoder.conv1", 3, config.dim),
        stages(build_stages(config, builder)),
        middle(builder, "encoder.middle", config.dim * config.dim_mult.back()),
        head(builder, "encoder.head.0", "encoder.head.2", config.dim * config.dim_mult.back(),
             2 * config.z_dim),
        to_latent(builder.conv1x1x1("conv1", 2 * config.z_dim, 2 * config.z_dim)),
        num_slots(builder.num_slots) {}

  using Layer = std::variant<VaeResidual, VaeDownsample>;
  static std::vector<Layer> build_stages(const VaeConfig& config, VaeBuilder& builder) {
    std::vector<Layer> layers;
    int64_t width = config.dim;
    const auto next_name = [&] { return str_cat("encoder.downsamples.", layers.size()); };
    for (size_t stage = 0; stage < config.dim_mult.size(); ++stage) {
      const int64_t out = config.dim * config.dim_mult[stage];
      for (int64_t block = 0; block < config.num_res_blocks; ++block) {
        layers.emplace_back(VaeResidual(builder, next_name(), width, out));
        width = out;
      }
      if (stage + 1 < config.dim_mult.size()) {
        layers.emplace_back(
            VaeDownsample(builder, next_name(), width, config.temperal_downsample[stage]));
      }
    }
    return layers;
  }

  // [B, T, H, W, 3] -> [B, T', h, w, 2*z_dim]
  at::Tensor forward(const at::Tensor& frames, VaeStream& stream) const {
    at::Tensor x = conv1.forward(frames, stream);
    for (const Layer& layer : stages) {
      x = std::visit([&](const auto& module) { return module.forward(x, stream); }, layer);
    }
    return to_latent.forward(head.forward(middle.forward(x, stream), stream));
  }

  VaeConv conv1;
  std::vector<Layer> stages;
  VaeMiddle middle;
  VaeNormConv head;
  CausalConv3d to_latent;
  int64_t num_slots;
};

struct WanVae::Decoder {
  Decoder(const VaeConfig& config, VaeBuilder& builder)
      : from_latent(builder.conv1x1x1("conv2", config.z_dim, config.z_dim)),
        conv1(builder, "decoder.conv1", config.z_dim, config.dim * config.dim_mult.back()),
        middle(builder, "decoder.middle", config.dim * config.dim_mult.back()),
        stages(build_stages(config, builder)),
        head(builder, "decoder.head.0", "decoder.head.2", config.dim * config.dim_mult.front(), 3),
        num_slots(builder.num_slots) {}

  using Layer = std::variant<VaeResidual, VaeUpsample>;
  static std::vector<Layer> build_stages(const VaeConfig& config, VaeBuilder& builder) {
    std::vector<Layer> layers;
    int64_t width = config.dim * config.dim_mult.back();
    const auto next_name = [&] { return str_cat("decoder.upsamples.", layers.size()); };
    for (size_t stage = config.dim_mult.size(); stage-- > 0;) {
      const int64_t out = config.dim * config.dim_mult[stage];
      for (int64_t block = 0; block < config.num_res_blocks + 1; ++block) {
        layers.emplace_back(VaeResidual(builder, next_name(), width, out));
        width = out;
      }
      if (stage > 0) {
        layers.emplace_back(
            VaeUpsample(builder, next_name(), width, config.temperal_downsample[stage - 1]));
        width /= 2;
      }
    }
    return layers;
  }

  // [B, 1, h, w, z_dim] -> [B, T, H, W, 3]
  at::Tensor forward(const at::Tensor& latent, VaeStream& stream) const {
    at::Tensor x = middle.forward(conv1.forward(from_latent.forward(latent), stream), stream);
    for (const Layer& layer : stages) {
      x = std::visit([&](const auto& module) { return module.forward(x, stream); }, layer);
    }
    return head.forward(x, stream);
  }

  CausalConv3d from_latent;
  VaeConv conv1;
  VaeMiddle middle;
  std::vector<Layer> stages;
  VaeNormConv head;
  int64_t num_slots;
};

WanVae::WanVae(VaeConfig config, const TensorMap& parameters, VaePart part)
    : config_(std::move(config)) {
  config_.complete();
  WeightReader reader(parameters, "Wan VAE");
  if (part != VaePart::kDecoder) {
    VaeBuilder builder{reader};
    encoder_ = std::make_unique<const Encoder>(config_, builder);
  } else {
    reader.ignore_prefix("encoder.");
    reader.ignore_prefix("conv1.");
  }
  if (part != VaePart::kEncoder) {
    VaeBuilder builder{reader};
    decoder_ = std::make_unique<const Decoder>(config_, builder);
  } else {
    reader.ignore_prefix("decoder.");
    reader.ignore_prefix("conv2.");
  }
  reader.finish();
  const auto options = parameters.begin()->second.options().requires_grad(false);
  latent_mean_ = at::tensor(config_.latent_mean, at::kDouble).to(options);
  // The original divides one by the deviation in the tensors' type; so do we, to the last bit.
  latent_inverse_std_ =
      at::ones({}, options) / at::tensor(config_.latent_std, at::kDouble).to(options);
}

WanVae::~WanVae() = default;
WanVae::WanVae(WanVae&&) noexcept = default;
WanVae& WanVae::operator=(WanVae&&) noexcept = default;

at::Tensor WanVae::encode(const at::Tensor& video) const {
  VaeEncodeCache cache;
  return encode_chunk(video, cache);
}

at::Tensor WanVae::encode_chunk(const at::Tensor& frames, VaeEncodeCache& cache) const {
  MONARCH_CHECK(encoder_ != nullptr, "[monarch_models] this VAE was loaded without its encoder");
  check_rank_and_channels(frames, 3, "video");
  const int64_t smallest = config_.spatial_factor();
  MONARCH_CHECK(frames.size(3) >= smallest && frames.size(4) >= smallest,
                "[monarch_models] the VAE encodes frames of at least ", smallest, "x", smallest,
                " pixels; got ", frames.size(3), "x", frames.size(4));
  open_stream(cache, encoder_->num_slots, frames);
  // Chunks are converted one at a time, so that a long video costs no second copy.
  std::vector<at::Tensor> latents;
  int64_t next = 0;
  while (true) {
    const int64_t group = cache.started ? config_.frames_per_group() : 1;
    const int64_t num_pending = cache.pending.defined() ? cache.pending.size(1) : 0;
    const int64_t num_taken = std::min(group - num_pending, frames.size(2) - next);
    if (num_taken == 0) break;
    at::Tensor chunk = channels_last(frames.narrow(2, next, num_taken).to(latent_mean_.options()));
    next += num_taken;
    if (num_pending > 0) chunk = at::cat({cache.pending, chunk}, 1);
    if (chunk.size(1) < group) {
      cache.pending = chunk;
      break;
    }
    cache.pending.reset();
    VaeStream stream{cache.slots, !cache.started};
    const at::Tensor mean = encoder_->forward(chunk, stream).narrow(4, 0, config_.z_dim);
    cache.started = true;
    latents.push_back((mean - latent_mean_) * latent_inverse_std_);
  }
  if (latents.empty()) {
    int64_t height = frames.size(3), width = frames.size(4);
    for (int64_t factor = smallest; factor > 1; factor /= 2) height /= 2, width /= 2;
    return at::empty({frames.size(0), config_.z_dim, 0, height, width}, latent_mean_.options());
  }
  return channels_first(at::cat(latents, 1)).contiguous();
}

at::Tensor WanVae::decode(const at::Tensor& latent) const {
  VaeDecodeCache cache;
  return decode_chunk(latent, cache);
}

at::Tensor WanVae::decode_chunk(const at::Tensor& latent, VaeDecodeCache& cache) const {
  MONARCH_CHECK(decoder_ != nullptr, "[monarch_models] this VAE was loaded without its decoder");
  check_rank_and_channels(latent, config_.z_dim, "latents");
  open_stream(cache, decoder_->num_slots, latent);
  const int64_t factor = config_.temporal_factor();
  const int64_t total = latent.size(2) * factor - (cache.started ? 0 : factor - 1);
  at::Tensor video;                // filled chunk by chunk where no gradient is asked for
  std::vector<at::Tensor> chunks;  // otherwise
  int64_t next = 0;
  for (int64_t frame = 0; frame < latent.size(2); ++frame) {
    const at::Tensor one = channels_last(latent.narrow(2, frame, 1).to(latent_mean_.options()));
    VaeStream stream{cache.slots, !cache.started};
    const at::Tensor pixels =
        channels_first(decoder_->forward(one / latent_inverse_std_ + latent_mean_, stream));
    cache.started = true;
    if (pixels.requires_grad()) {
      chunks.push_back(pixels);
      continue;
    }
    if (!video.defined()) {
      video =
          at::empty({pixels.size(0), 3, total, pixels.size(3), pixels.size(4)}, pixels.options());
    }
    video.narrow(2, next, pixels.size(2)).copy_(pixels);
    next += pixels.size(2);
  }
  return chunks.empty() ? video : at::cat(chunks, 2);
}

}  // namespace monarch::models
