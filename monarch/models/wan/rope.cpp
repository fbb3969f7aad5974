#include "monarch/models/wan/rope.h"

namespace monarch::models {

std::array<int64_t, 3> rope_axis_dims(int64_t head_dim) {
  const int64_t spatial = 2 * (head_dim / 6);
  return {head_dim - 2 * spatial, spatial, spatial};
}

at::Tensor rope_table(const ops::Grid& grid, int64_t start_frame, int64_t head_dim,
                      const at::Device& device, double theta) {
  const std::array<int64_t, 3> dims = rope_axis_dims(head_dim);
  const std::array<int64_t, 3> begins{start_frame, 0, 0};
  const std::array<int64_t, 3> extents{grid.frames, grid.height, grid.width};
  std::vector<at::Tensor> parts;
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t half = dims[axis] / 2;
    if (half == 0) continue;
    const at::Tensor position =
        at::arange(begins[axis], begins[axis] + extents[axis], at::kDouble).unsqueeze(1);
    const at::Tensor inverse = at::pow(theta, at::arange(half, at::kDouble).div_(-half));
    const at::Tensor angle = position * inverse;  // [extent, half]
    std::vector<int64_t> shape{1, 1, 1, half};
    shape[axis] = extents[axis];
    parts.push_back(at::polar(at::ones_like(angle), angle)
                        .to(at::kComplexFloat)
                        .view(shape)
                        .expand({extents[0], extents[1], extents[2], half}));
  }
  return at::cat(parts, 3)
      .view({grid.tokens(), head_dim / 2})
      .to(device, at::kComplexFloat, /*non_blocking=*/!device.is_cpu());
}

at::Tensor turn_frames(const at::Tensor& keys, int64_t frames) {
  const int64_t head_dim = keys.size(-1);
  const at::Tensor turn = rope_table({1, 1, 1}, frames, head_dim, keys.device());
  const at::Tensor pairs = keys.to(at::kFloat).unflatten(-1, {head_dim / 2, 2}).contiguous();
  return at::view_as_real(at::view_as_complex(pairs) * turn.view({1, 1, 1, head_dim / 2}))
      .flatten(-2)
      .to(keys.scalar_type());
}

}  // namespace monarch::models
