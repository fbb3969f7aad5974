#include "apps/parity/attention.h"

#include <functional>

#include "apps/parity/gradients.h"
#include "monarch/ops/attention.h"

namespace monarch::apps {
namespace {

using ops::Grid;
using ops::MonarchOptions;

int64_t number(const ParityInput& in, const char* key) {
  return in.config().at(key).get<int64_t>();
}

std::optional<double> scale_of(const ParityInput& in, const char* key = "sm_scale") {
  const auto found = in.config().find(key);
  if (found == in.config().end() || found->is_null()) return std::nullopt;
  return found->get<double>();
}

MonarchOptions options_of(const ParityInput& in) {
  return {.enable = true,
          .num_iters = number(in, "num_iters"),
          .f_tied = number(in, "f_tied"),
          .h_reduce = number(in, "h_reduce"),
          .w_reduce = number(in, "w_reduce")};
}

Grid grid_of(const ParityInput& in, const char* frames) {
  return {number(in, frames), number(in, "h"), number(in, "w")};
}

using Attention =
    std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

// The result without gradients, then the gradients: the two take different paths.
ParityOutput run_qkv(const ParityInput& in, const Attention& attend) {
  at::Tensor q = in.input("q"), k = in.input("k"), v = in.input("v");
  ParityOutput output;
  {
    const at::NoGradGuard no_grad;
    output["expect.out"] = attend(q, k, v);
  }
  if (in.has("input.grad_out")) {
    for (at::Tensor* t : {&q, &k, &v}) t->requires_grad_();
    add_gradients(attend(q, k, v), in.input("grad_out"), {{"q", q}, {"k", k}, {"v", v}}, output);
  }
  return output;
}

// The cache ops: `order` brings new keys into the cache's order, `attend` reads the whole cache.
ParityOutput run_cached(const ParityInput& in,
                        const std::function<at::Tensor(const at::Tensor&)>& order,
                        const Attention& attend) {
  at::Tensor q = in.input("q"), new_k = in.input("new_k"), new_v = in.input("new_v");
  at::Tensor k_cache = in.input("k_cache"), v_cache = in.input("v_cache");
  const bool grads = in.has("input.grad_out");
  if (grads) {
    for (at::Tensor* t : {&q, &new_k, &new_v}) t->requires_grad_();
  }
  const int64_t start = number(in, "start");
  const at::Tensor k = ops::splice_tokens(k_cache, order(new_k), start);
  const at::Tensor v = ops::splice_tokens(v_cache, order(new_v), start);
  const at::Tensor out = attend(q, k, v);
  ParityOutput output{{"expect.out", out}, {"expect.k_cache", k}, {"expect.v_cache", v}};
  if (grads) {
    NamedTensors wanted{{"q", q}, {"new_k", new_k}, {"new_v", new_v}};
    if (!in.config().at("grad_only_new_kv").get<bool>()) {
      wanted.emplace("k_cache", k);  // with respect to the contents after the write
      wanted.emplace("v_cache", v);
    }
    add_gradients(out, in.input("grad_out"), wanted, output);
  }
  return output;
}

}  // namespace

ParityOutput run_dense_attention(const ParityInput& in) {
  return run_qkv(in, [&](const auto& q, const auto& k, const auto& v) {
    return ops::dense_attention(q, k, v, scale_of(in));
  });
}

ParityOutput run_dense_attention_block_causal(const ParityInput& in) {
  return run_qkv(in, [&](const auto& q, const auto& k, const auto& v) {
    return ops::dense_attention_block_causal(q, k, v, number(in, "block_causal_size"),
                                             scale_of(in));
  });
}

ParityOutput run_dense_attention_kv_cache(const ParityInput& in) {
  return run_cached(
      in, [](const at::Tensor& fresh) { return fresh; },
      [&](const auto& q, const auto& k, const auto& v) {
        return ops::dense_attention(q, k, v, scale_of(in));
      });
}

ParityOutput run_monarch_attention(const ParityInput& in) {
  return run_qkv(in, [&](const auto& q, const auto& k, const auto& v) {
    return ops::monarch_attention(q, k, v, options_of(in), grid_of(in, "q_frames"),
                                  grid_of(in, "kv_frames"), scale_of(in));
  });
}

ParityOutput run_monarch_attention_block_causal(const ParityInput& in) {
  return run_qkv(in, [&](const auto& q, const auto& k, const auto& v) {
    return ops::monarch_attention_block_causal(q, k, v, options_of(in), grid_of(in, "q_frames"),
                                               number(in, "block_causal_size"), scale_of(in));
  });
}

ParityOutput run_monarch_attention_kv_cache(const ParityInput& in) {
  const MonarchOptions options = options_of(in);
  return run_cached(
      in,
      [&](const at::Tensor& fresh) {
        return ops::to_block_order(fresh, grid_of(in, "new_frames"), options);
      },
      [&](const auto& q, const auto& k, const auto& v) {
        return ops::monarch_attention_blocks(q, k, v, options, grid_of(in, "q_frames"),
                                             grid_of(in, "cache_frames"), scale_of(in));
      });
}

ParityOutput run_vmonarch_attention(const ParityInput& in) {
  const ops::VMonarchOptions options{
      .num_iters = number(in, "num_iters"),
      .c_r_min = in.config().at("c_r_min").get<double>(),
      .recompute_first_frame = in.config().at("recompute_first_frame").get<bool>(),
      .frames_per_factor = number(in, "frames_per_factor")};
  const Grid grid{number(in, "frames"), number(in, "height"), number(in, "width")};
  return run_qkv(in, [&](const auto& q, const auto& k, const auto& v) {
    return ops::vmonarch_attention(q, k, v, options, grid, scale_of(in, "softmax_scale"));
  });
}

}  // namespace monarch::apps
