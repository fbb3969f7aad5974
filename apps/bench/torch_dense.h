// Torch's dense attention on a GPU, by the library that computes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>

namespace monarch::apps {

struct TorchDense {
  const char* name;
  // q, k, v and result [B, N, H, D]. Throws for what the library does not take.
  at::Tensor (*attend)(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
};

at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
at::Tensor cudnn_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

inline constexpr std::array<TorchDense, 2> kTorchDense = {
    {{"torch-flash", flash_attention}, {"torch-cudnn", cudnn_attention}}};

}  // namespace monarch::apps
