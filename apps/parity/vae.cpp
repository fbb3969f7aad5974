// Parity of the Wan video VAE: whole halves, streaming decode, RMS norm and causal convolution.
#include "apps/parity/vae.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/vae.h"
#include "monarch/models/wan/vae_layers.h"

namespace monarch::apps {
namespace {

using models::CausalConv3d;
using models::VaeConfig;
using models::VaePart;
using models::WanVae;

WanVae build_vae(const ParityInput& in, VaePart part) {
  Json config = in.config();  // holds keys of the case beside those of the model
  for (const char* key : {"num_samples", "frames", "latent_frames", "sequences"}) config.erase(key);
  return WanVae(VaeConfig::from_json(config), in.with_prefix("param."), part);
}

at::Tensor to_channels_last(const at::Tensor& x) { return x.permute({0, 2, 3, 4, 1}).contiguous(); }

}  // namespace

ParityOutput run_wan_vae_encode(const ParityInput& in) {
  const WanVae vae = build_vae(in, VaePart::kEncoder);
  ParityOutput out;
  for (int i = 0; i < in.config().at("num_samples").get<int>(); ++i) {
    out[str_cat("expect.latent", i)] = vae.encode(in.input(str_cat("video", i)));
  }
  return out;
}

ParityOutput run_wan_vae_decode(const ParityInput& in) {
  const WanVae vae = build_vae(in, VaePart::kDecoder);
  ParityOutput out;
  for (int i = 0; i < in.config().at("num_samples").get<int>(); ++i) {
    const at::Tensor raw = vae.decode(in.input(str_cat("latent", i)));
    out[str_cat("expect.raw", i)] = raw;
    out[str_cat("expect.video", i)] = raw.clamp(-1, 1);
  }
  return out;
}

ParityOutput run_wan_vae_decode_cached(const ParityInput& in) {
  const WanVae vae = build_vae(in, VaePart::kDecoder);
  const auto sequences = in.config().at("sequences").get<std::vector<std::vector<int64_t>>>();
  ParityOutput out;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const at::Tensor latent = in.input(str_cat("latent", s));
    out[str_cat("expect.full", s)] = vae.decode(latent);
    models::VaeDecodeCache cache;
    int64_t next = 0;
    for (size_t j = 0; j < sequences[s].size(); ++j) {
      out[str_cat("expect.seq", s, ".chunk", j)] =
          vae.decode_chunk(latent.narrow(2, next, sequences[s][j]), cache);
      next += sequences[s][j];
    }
  }
  return out;
}

ParityOutput run_vae_rms_norm(const ParityInput& in) {
  const at::Tensor x = in.input("x").movedim(1, -1).contiguous();
  const at::Tensor gamma = in.tensor("param.gamma").flatten();
  return {{"expect.out", models::vae_rms_norm(x, gamma).movedim(-1, 1)}};
}

ParityOutput run_vae_causal_conv3d(const ParityInput& in) {
  const CausalConv3d conv(in.tensor("param.weight"), in.tensor("param.bias"),
                          in.config().at("padding").get<CausalConv3d::Sizes>(),
                          in.config().at("stride").get<CausalConv3d::Sizes>());
  const at::Tensor cache =
      in.has("input.cache") ? to_channels_last(in.input("cache")) : at::Tensor();
  const at::Tensor out = conv.forward(to_channels_last(in.input("x")), cache);
  return {{"expect.out", out.permute({0, 4, 1, 2, 3})}};
}

}  // namespace monarch::apps
