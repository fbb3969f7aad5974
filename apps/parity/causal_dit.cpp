#include "monarch/models/wan/causal_dit.h"

#include "apps/parity/dit.h"
#include "apps/parity/gradients.h"
#include "apps/parity/model_config.h"

namespace monarch::apps {

ParityOutput run_wan_dit_causal_train(const ParityInput& in) {
  const models::WanConfig config = model_config(in.config());
  models::TensorMap weights = in.with_prefix("param.");
  const models::DitInput input{
      .x = in.input("x"), .t = in.input("t"), .context = in.input("context")};
  const NamedTensors wanted =
      require_gradients(in, weights, {{"x", input.x}, {"context", input.context}});
  const at::AutoGradMode grad(!wanted.empty());
  const at::Tensor out = models::CausalWanDit(config, weights).forward_train(input);
  ParityOutput output{{"expect.out", out}};
  if (!wanted.empty()) add_gradients(out, in.input("grad_out"), wanted, output);
  return output;
}

ParityOutput run_wan_dit_causal_cache(const ParityInput& in) {
  const at::NoGradGuard no_grad;
  const models::WanConfig config = model_config(in.config());
  const models::CausalWanDit model(config, in.with_prefix("param."));
  models::DitCache cache(config, in.config().at("batch").get<int64_t>(),
                         in.config().at("kv_cache_tokens").get<int64_t>(), at::kFloat);
  const int64_t switch_call = in.config().value("context_switch_call", int64_t{-1});
  ParityOutput output;
  int64_t index = 0;
  for (const Json& call : in.config().at("calls")) {
    const std::string name = "call" + std::to_string(index);
    const bool late = switch_call >= 0 && index >= switch_call;
    const at::Tensor out =
        model.forward_cached({.x = in.input(name + ".x"),
                              .t = in.input(name + ".t"),
                              .context = in.input(late ? "context_late" : "context")},
                             call.at("start_frame").get<int64_t>(), cache);
    output["expect." + name + ".out"] = out;
    MONARCH_CHECK(cache.global_end() == call.at("global_end_index").get<int64_t>() &&
                      cache.local_end() == call.at("local_end_index").get<int64_t>(),
                  "[parity] after ", name, " the cache ends at ", cache.global_end(), " and ",
                  cache.local_end(), ", expected ", call.dump());
    ++index;
  }
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string number = std::to_string(layer);
    output["expect.kv" + number + ".k"] = cache.buffers(layer).k;
    output["expect.kv" + number + ".v"] = cache.buffers(layer).v;
    output["expect.cross" + number + ".k"] = cache.cross(layer).k;
    output["expect.cross" + number + ".v"] = cache.cross(layer).v;
  }
  return output;
}

ParityOutput run_blockwise_causal_mask(const ParityInput& in) {
  models::WanConfig config;
  config.num_frame_per_block = in.config().at("num_frame_per_block");
  config.independent_first_frame = in.config().at("independent_first_frame");
  config.local_attn_size = in.config().at("local_attn_size");
  const int64_t frames = in.config().at("num_frames"), tokens = in.config().at("tokens_per_frame");
  const at::Tensor mask = at::eye(frames * tokens, at::kFloat);
  for (const ops::QueryRun& run : models::block_causal_runs(config, frames, tokens)) {
    mask.slice(0, run.query_begin, run.query_end).slice(1, run.key_begin, run.key_end).fill_(1);
  }
  return {{"expect.mask", mask}};
}

}  // namespace monarch::apps
