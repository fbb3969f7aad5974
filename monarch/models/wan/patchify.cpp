#include "monarch/models/wan/patchify.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {

ops::Grid token_grid(const at::Tensor& latent, const PatchSize& patch) {
  MONARCH_CHECK(latent.dim() == 5,
                "[monarch_models] a latent is [batch, channels, frames, height, "
                "width]; got shape ",
                shape_string(latent.sizes()));
  const char* names[] = {"frames", "height", "width"};
  for (int64_t axis = 0; axis < 3; ++axis) {
    const int64_t extent = latent.size(axis + 2);
    MONARCH_CHECK(extent >= 1 && extent % patch[axis] == 0, "[monarch_models] latent ", names[axis],
                  " ", extent, " must be a positive multiple of the patch size ", patch[axis]);
  }
  return {latent.size(2) / patch[0], latent.size(3) / patch[1], latent.size(4) / patch[2]};
}

at::Tensor patch_embed(const at::Tensor& latent, const at::Tensor& weight, const at::Tensor& bias,
                       const PatchSize& patch) {
  const ops::Grid grid = token_grid(latent, patch);
  const int64_t channels = latent.size(1);
  const at::Tensor patches =  // [B, N, C*pt*ph*pw]
      latent
          .reshape({latent.size(0), channels, grid.frames, patch[0], grid.height, patch[1],
                    grid.width, patch[2]})
          .permute({0, 2, 4, 6, 1, 3, 5, 7})
          .reshape({latent.size(0), grid.tokens(), channels * patch[0] * patch[1] * patch[2]});
  return linear(patches, weight.flatten(1), bias);
}

at::Tensor unpatchify(const at::Tensor& tokens, const ops::Grid& grid, const PatchSize& patch) {
  const int64_t channels = tokens.size(2) / (patch[0] * patch[1] * patch[2]);
  return tokens
      .reshape({tokens.size(0), grid.frames, grid.height, grid.width, patch[0], patch[1], patch[2],
                channels})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .reshape({tokens.size(0), channels, grid.frames * patch[0], grid.height * patch[1],
                grid.width * patch[2]});
}

}  // namespace monarch::models
