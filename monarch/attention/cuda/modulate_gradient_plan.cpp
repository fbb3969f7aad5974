#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/modulate_gradient.h"
#include "monarch/attention/cuda/modulate_rows.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {
namespace {

std::int64_t parts_of_run(std::int64_t batch, std::int64_t tokens, std::int64_t runs) {
  const std::int64_t wanted = kMaxModulationSums / std::max<std::int64_t>(batch * runs, 1);
  return std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(tokens / runs, 1));
}

ModulateGradientArgs gradient_sizes(const RowsShape& shape, ModulateKind kind) {
  ModulateGradientArgs args;
  args.kind = kind;
  args.batch = narrow(shape.batch, "batches");
  args.tokens = narrow(shape.rows, "tokens");
  args.channels = narrow(shape.channels, "channels");
  return args;
}

// `modulations`: how many have gradients.
void split_into_sums(ModulateGradientArgs& args, const ConstTensorView& modulation,
                     const RowsShape& shape, std::int64_t modulations, std::span<float> workspace) {
  args.runs = narrow(shape.rows, "runs");
  args.run_tokens = args.tokens / args.runs;
  args.parts = static_cast<int>(parts_of_run(args.batch, args.tokens, args.runs));
  args.modulated_batches = static_cast<int>(modulation.size(0));
  args.num_blocks = num_modulation_sums(args.batch, args.tokens, args.runs);
  const std::int64_t pairs = modulations * modulation.size(0) * shape.rows * (shape.channels / 2);
  args.num_sum_blocks = (pairs + sm80::kNormThreads - 1) / sm80::kNormThreads;
  narrow(std::max(args.num_blocks, args.num_sum_blocks), "thread blocks");
  check_workspace(
      {workspace.data(), workspace.size_bytes()},
      static_cast<std::size_t>(modulations * args.num_blocks * shape.channels) * sizeof(float));
  args.sums = workspace.data();
}

}  // namespace

std::int64_t num_modulation_sums(std::int64_t batch, std::int64_t tokens, std::int64_t runs) {
  return batch * runs * parts_of_run(batch, tokens, runs);
}

ModulateGradientArgs modulate_gradient_args(const ModulatedNormGradient& norm) {
  const RowsShape shape = token_shape(norm.x, ModulateKind::kNorm);
  ModulateGradientArgs args = gradient_sizes(shape, ModulateKind::kNorm);
  const RowsShape runs = modulation_shape(norm.scale, norm.x);
  args.x = rows(norm.x, "x", shape);
  args.grad_out = rows(norm.grad_out, "grad_out", shape);
  args.grad_x = result_rows(norm.grad_x, "grad_x", shape);
  args.scale = rows(norm.scale, "scale", runs, true);
  const RowsShape own{norm.scale.size(0), runs.rows, runs.channels, runs.dtype};
  args.grad_scale = result_rows(norm.grad_scale, "grad_scale", own);
  args.grad_shift = result_rows(norm.grad_shift, "grad_shift", own);
  args.eps = static_cast<float>(norm.eps);
  split_into_sums(args, norm.scale, runs, 2, norm.workspace);
  return args;
}

ModulateGradientArgs modulate_gradient_args(const GatedAddGradient& add) {
  const RowsShape shape = token_shape(add.y, ModulateKind::kGatedAdd);
  ModulateGradientArgs args = gradient_sizes(shape, ModulateKind::kGatedAdd);
  const RowsShape runs = modulation_shape(add.gate, add.y);
  args.x = rows(add.y, "y", shape);
  args.grad_out = rows(add.grad_out, "grad_out", shape);
  args.grad_x = result_rows(add.grad_y, "grad_y", shape);
  args.scale = rows(add.gate, "gate", runs, true);
  args.grad_scale = result_rows(add.grad_gate, "grad_gate",
                                {add.gate.size(0), runs.rows, runs.channels, runs.dtype});
  split_into_sums(args, add.gate, runs, 1, add.workspace);
  return args;
}

ModulateGradientArgs modulate_gradient_args(const GeluTanhGradient& gelu) {
  const RowsShape shape = token_shape(gelu.x, ModulateKind::kGelu);
  ModulateGradientArgs args = gradient_sizes(shape, ModulateKind::kGelu);
  args.x = rows(gelu.x, "x", shape);
  args.grad_out = rows(gelu.grad_out, "grad_out", shape);
  args.grad_x = result_rows(gelu.grad_x, "grad_x", shape);
  args.num_blocks = blocks_of_pieces(shape);
  narrow(args.num_blocks, "thread blocks");
  return args;
}

void run_modulated_norm_gradient(const ModulatedNormGradient& norm, Stream stream) {
  launch_modulate_gradient(modulate_gradient_args(norm), norm.x.dtype, stream);
}
void run_gated_add_gradient(const GatedAddGradient& add, Stream stream) {
  launch_modulate_gradient(modulate_gradient_args(add), add.y.dtype, stream);
}
void run_gelu_tanh_gradient(const GeluTanhGradient& gelu, Stream stream) {
  launch_modulate_gradient(modulate_gradient_args(gelu), gelu.x.dtype, stream);
}

}  // namespace monarch::attention::cuda
