// Shape checks shared by the attention ops.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "monarch/base/error.h"

namespace monarch::ops {

inline void check_qkv(const char* op, const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v) {
  MONARCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4, "[monarch_ops] ", op,
                " needs q, k, v of shape [batch, tokens, heads, head_dim]; got ",
                shape_string(q.sizes()), ", ", shape_string(k.sizes()), ", ",
                shape_string(v.sizes()));
  MONARCH_CHECK(k.sizes() == v.sizes(), "[monarch_ops] ", op, " needs k and v of one shape; got ",
                shape_string(k.sizes()), " and ", shape_string(v.sizes()));
  MONARCH_CHECK(q.size(0) == k.size(0) && q.size(2) == k.size(2) && q.size(3) == k.size(3),
                "[monarch_ops] ", op, ": q ", shape_string(q.sizes()), " and k ",
                shape_string(k.sizes()), " differ in batch, heads or head_dim");
  MONARCH_CHECK(k.size(1) > 0, "[monarch_ops] ", op, " needs at least one key");
  MONARCH_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(),
                "[monarch_ops] ", op, " needs q, k, v of one type; got ", q.scalar_type(), ", ",
                k.scalar_type(), ", ", v.scalar_type());
  MONARCH_CHECK(q.device() == k.device() && q.device() == v.device(), "[monarch_ops] ", op,
                " needs q, k, v on one device; got ", q.device(), ", ", k.device(), ", ",
                v.device());
}

inline double scale_or_default(std::optional<double> softmax_scale, int64_t head_dim) {
  return softmax_scale.value_or(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace monarch::ops
