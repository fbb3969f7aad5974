// How far an approximation is from what it approximates.
#pragma once

#include <ATen/ATen.h>

#include "monarch/evaluation/attention_map.h"

namespace monarch::evaluation {

// ||got - want|| / ||want||, in double; 0 where both are zero.
double relative_error(const at::Tensor& got, const at::Tensor& want);

// Peak signal-to-noise ratio in dB of values in [0, 1]; infinity where all are equal.
double psnr(const at::Tensor& got, const at::Tensor& want);

// Structural similarity (Wang et al., 2004) of frames [T, C, H, W] in [0, 1]: Gaussian window of 11
// pixels and sigma 1.5, K1 = 0.01, K2 = 0.03; mean over places, channels and frames, in [-1, 1].
// Throws if a side is below 11 pixels.
double ssim(const at::Tensor& got, const at::Tensor& want);

struct AttentionErrors {
  double map = 0;  // relative error of the map (Frobenius)
  // Mean part of a query's weight on other keys than in the dense map, [0, 1].
  double misplaced = 0;
  double output = 0;  // relative error of map * v
  double sparsity = 0;
  // Part of the squared output error on queries of the first frame; NaN where not measured.
  double first_frame = 0;
};

// Dense rows of some queries of a head, which many methods are measured against.
class AttentionTruth {
 public:
  AttentionTruth(AttentionHead head, std::int64_t max_queries);

  const AttentionHead& head() const { return head_; }
  AttentionErrors measure(const AttentionMethod& method) const;

 private:
  AttentionHead head_;
  at::Tensor queries_, rows_, output_;
};

}  // namespace monarch::evaluation
