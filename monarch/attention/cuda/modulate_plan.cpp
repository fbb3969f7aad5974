#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/modulate.h"
#include "monarch/attention/cuda/modulate_rows.h"
#include "monarch/attention/cuda/norm_rope.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {
namespace {

ModulateArgs sizes(const ConstTensorView& x, const TensorView& out, ModulateKind kind) {
  const RowsShape shape = token_shape(x, kind);
  ModulateArgs args;
  args.kind = kind;
  args.x = rows(x, "x", shape);
  args.out = result_rows(out, "out", shape);
  args.batch = narrow(shape.batch, "batches");
  args.tokens = args.run_tokens = narrow(shape.rows, "tokens");
  args.channels = narrow(shape.channels, "channels");
  args.num_blocks =
      kind == ModulateKind::kNorm ? shape.batch * shape.rows : blocks_of_pieces(shape);
  narrow(args.num_blocks, "thread blocks");
  return args;
}

// Of the modulation; sets how many tokens share a row of it.
RowsShape runs(const ConstTensorView& modulation, const ConstTensorView& x, ModulateArgs& args) {
  const RowsShape shape = modulation_shape(modulation, x);
  args.run_tokens = static_cast<int>(x.size(1) / shape.rows);
  return shape;
}

}  // namespace

std::string modulate_refusal(ModulateKind kind, DType dtype, std::int64_t channels) {
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return str_cat("the CUDA kernels take BF16 or F16, not ", dtype_name(dtype));
  }
  if (channels % 8 != 0 || (kind != ModulateKind::kGelu && channels > kMaxNormChannels)) {
    return str_cat("the CUDA kernels take up to ", kMaxNormChannels,
                   " channels, a multiple of 8; got ", channels);
  }
  return "";
}

ModulateArgs modulate_args(const ModulatedNorm& norm) {
  ModulateArgs args = sizes(norm.x, norm.out, ModulateKind::kNorm);
  const RowsShape shape = runs(norm.scale, norm.x, args);
  args.scale = rows(norm.scale, "scale", shape, true);
  args.shift = rows(norm.shift, "shift", shape, true);
  args.eps = static_cast<float>(norm.eps);
  return args;
}

ModulateArgs modulate_args(const GatedAdd& add) {
  ModulateArgs args = sizes(add.x, add.out, ModulateKind::kGatedAdd);
  args.y = rows(add.y, "y", token_shape(add.x, args.kind));
  args.scale = rows(add.gate, "gate", runs(add.gate, add.x, args), true);
  return args;
}

ModulateArgs modulate_args(const ConstTensorView& x, const TensorView& out) {
  return sizes(x, out, ModulateKind::kGelu);
}

void run_modulated_norm(const ModulatedNorm& norm, Stream stream) {
  launch_modulate(modulate_args(norm), norm.x.dtype, stream);
}
void run_gated_add(const GatedAdd& add, Stream stream) {
  launch_modulate(modulate_args(add), add.x.dtype, stream);
}
void run_gelu_tanh(const ConstTensorView& x, const TensorView& out, Stream stream) {
  launch_modulate(modulate_args(x, out), x.dtype, stream);
}

}  // namespace monarch::attention::cuda
