#include "apps/bench/torch_dense.h"

#include <ATen/ATen.h>

#include <tuple>

namespace monarch::apps {

at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return std::get<0>(at::_scaled_dot_product_flash_attention(q.transpose(1, 2), k.transpose(1, 2),
                                                             v.transpose(1, 2),
                                                             /*dropout_p=*/0.0))
      .transpose(1, 2);
}

at::Tensor cudnn_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool gradients = at::GradMode::is_enabled() && q.requires_grad();
  return std::get<0>(at::_scaled_dot_product_cudnn_attention(
                         q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                         /*attn_bias=*/{}, /*compute_log_sumexp=*/gradients))
      .transpose(1, 2);
}

}  // namespace monarch::apps
