#include "apps/parity/dit.h"

#include "apps/parity/gradients.h"
#include "apps/parity/model_config.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/norms.h"
#include "monarch/models/wan/patchify.h"
#include "monarch/models/wan/rope.h"
#include "monarch/models/wan/sinusoid.h"
#include "monarch/ops/norm_rope.h"

namespace monarch::apps {

ParityOutput run_wan_dit(const ParityInput& in) {
  const models::WanConfig config = model_config(in.config());
  models::TensorMap weights = in.with_prefix("param.");
  models::DitInput input{.x = in.input("x"), .t = in.input("t"), .context = in.input("context")};
  if (in.has("input.y")) input.y = in.input("y");
  if (in.has("input.clip_fea")) input.clip_fea = in.input("clip_fea");
  const NamedTensors wanted =
      require_gradients(in, weights, {{"x", input.x}, {"context", input.context}});
  const at::AutoGradMode grad(!wanted.empty());
  const at::Tensor out = models::WanDit(config, weights).forward(input);
  ParityOutput output{{"expect.out", out}};
  if (!wanted.empty()) add_gradients(out, in.input("grad_out"), wanted, output);
  return output;
}

ParityOutput run_rope_3d(const ParityInput& in) {
  const std::vector<int64_t> grid = in.config().at("grid");
  const at::Tensor table = models::rope_table(
      {grid[0], grid[1], grid[2]}, in.config().at("start_frame").get<int64_t>(),
      in.config().at("head_dim").get<int64_t>(), at::kCPU, in.config().at("theta").get<double>());
  const at::Tensor parts = at::view_as_real(table);
  return {{"expect.cos", parts.select(-1, 0)},
          {"expect.sin", parts.select(-1, 1)},
          {"expect.q", ops::norm_rope(in.input("q"), {}, table, 0)},
          {"expect.k", ops::norm_rope(in.input("k"), {}, table, 0)}};
}

ParityOutput run_sinusoidal_embedding(const ParityInput& in) {
  return {{"expect.embedding",
           models::sinusoidal_embedding(in.input("t"), in.config().at("freq_dim").get<int64_t>(),
                                        at::kFloat)}};
}

ParityOutput run_modulated_layernorm(const ParityInput& in) {
  const auto runs = [](const at::Tensor& t) { return t.dim() == 4 ? t.squeeze(2) : t; };
  return {
      {"expect.out", models::modulated_layer_norm(in.input("x"), runs(in.input("shift")),
                                                  runs(in.input("scale")), in.config().at("eps"))}};
}

ParityOutput run_wan_rmsnorm(const ParityInput& in) {
  const at::Tensor x = in.input("x");  // [B, N, C]: one head
  return {{"expect.out",
           ops::norm_rope(x.unsqueeze(2), in.tensor("param.weight"), {}, in.config().at("eps"))
               .squeeze(2)}};
}

ParityOutput run_patchify(const ParityInput& in) {
  const models::PatchSize patch = in.config().at("patch_size");
  const std::vector<int64_t> grid = in.config().at("grid");
  models::TensorMap params = in.with_prefix("param.");
  return {{"expect.tokens", models::patch_embed(in.input("x"), params.at("patch_embedding.weight"),
                                                params.at("patch_embedding.bias"), patch)},
          {"expect.video",
           models::unpatchify(in.input("head_out"), {grid[0], grid[1], grid[2]}, patch)}};
}

}  // namespace monarch::apps
