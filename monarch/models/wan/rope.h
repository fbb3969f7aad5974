// Rotary position embedding over (frame, row, column).
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>

#include "monarch/ops/monarch_options.h"

namespace monarch::models {

// Channels of a head given to frames, rows and columns: 44, 42, 42 of 128.
std::array<int64_t, 3> rope_axis_dims(int64_t head_dim);

// cos + i sin of every token's angles, [N, D/2] complex64, tokens in (frame, row, column) order
// and frame positions start_frame, start_frame + 1, ... Angles are float64. `device` receives it.
at::Tensor rope_table(const ops::Grid& grid, int64_t start_frame, int64_t head_dim,
                      const at::Device& device = at::kCPU, double theta = 10000.0);

// Rotated keys [B, N, heads, D] as they were, had their tokens come so many frames later.
at::Tensor turn_frames(const at::Tensor& keys, int64_t frames);

}  // namespace monarch::models
