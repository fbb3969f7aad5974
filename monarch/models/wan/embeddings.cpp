#include "monarch/models/wan/embeddings.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/sinusoid.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

constexpr double kImageNormEps = 1e-5;

at::Tensor layer_norm(const at::Tensor& x, const NormWeights& norm) {
  return at::layer_norm(x, {x.size(-1)}, like(norm.weight, x), like(norm.bias, x), kImageNormEps);
}

}  // namespace

TimeEmbedding embed_time(const DitWeights& weights, const WanConfig& config, const at::Tensor& t,
                         at::ScalarType type) {
  const at::Tensor sinusoid = sinusoidal_embedding(t, config.freq_dim, type);
  const at::Tensor e = weights.time_out(at::silu(weights.time_in(sinusoid)));
  return {.e = e, .e0 = weights.time_projection(at::silu(e)).unflatten(2, {6, config.dim})};
}

at::Tensor embed_context(const DitWeights& weights, const WanConfig& config,
                         const at::Tensor& context, const at::Tensor& clip_fea) {
  MONARCH_CHECK(context.dim() == 3 && context.size(2) == config.text_dim &&
                    context.size(1) <= config.text_len,
                "[monarch_models] context must be [batch, at most ", config.text_len, ", ",
                config.text_dim, "]; got ", shape_string(context.sizes()));
  const int64_t missing = config.text_len - context.size(1);
  const at::Tensor padded =
      missing == 0 ? context : at::constant_pad_nd(context, {0, 0, 0, missing});
  const at::Tensor text = weights.text_out(at::gelu(weights.text_in(padded), "tanh"));
  if (!config.image_to_video()) return text;
  MONARCH_CHECK(clip_fea.defined() && clip_fea.dim() == 3 && clip_fea.size(2) == config.clip_dim,
                "[monarch_models] an i2v model needs image features clip_fea [batch, 257, ",
                config.clip_dim, "]");
  const at::Tensor hidden = weights.image_in(layer_norm(clip_fea, weights.image_norm_in));
  const at::Tensor image = layer_norm(weights.image_out(at::gelu(hidden)), weights.image_norm_out);
  return at::cat({image, text}, 1);
}

}  // namespace monarch::models
