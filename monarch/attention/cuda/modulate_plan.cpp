#include <algorithm>
#include <cstdint>

#include "monarch/attention/cuda/launch.h"
#include "monarch/attention/cuda/modulate.h"
#include "monarch/attention/cuda/norm_rope.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/tensors.h"

namespace monarch::attention::cuda {
namespace {

struct Shape {
  std::int64_t batch = 1;
  std::int64_t rows = 1;
  std::int64_t channels = 0;
  DType dtype = DType::kBF16;
};

// `shared`: one batch may serve all.
Rows<const std::uint16_t> rows(const ConstTensorView& tensor, std::string_view name,
                               const Shape& shape, bool shared = false) {
  const bool one = shared && tensor.rank() == 3 && tensor.size(0) == 1;
  MONARCH_CHECK(tensor.rank() == 3 && (tensor.size(0) == shape.batch || one) &&
                    tensor.size(1) == shape.rows && tensor.size(2) == shape.channels,
                kRoom, name, " has shape ", shape_string(tensor.shape), "; expected [", shape.batch,
                ", ", shape.rows, ", ", shape.channels, "]");
  MONARCH_CHECK(tensor.dtype == shape.dtype, kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                " while x has ", dtype_name(shape.dtype));
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
  const auto in_pieces = [&](std::size_t axis) {
    return tensor.strides[axis] % 8 == 0 || tensor.shape[axis] == 1;
  };
  MONARCH_CHECK(address % 16 == 0 && in_pieces(0) && in_pieces(1) && tensor.strides[2] == 1, kRoom,
                name, " has strides ", shape_string(tensor.strides), " and begins ", address % 16,
                " bytes past a multiple of 16; the CUDA kernels copy 16 bytes at a time: make it "
                "contiguous");
  return {static_cast<const std::uint16_t*>(tensor.data), one ? 0 : tensor.strides[0],
          tensor.strides[1]};
}
Rows<std::uint16_t> result(const TensorView& tensor, const Shape& shape) {
  const Rows<const std::uint16_t> checked =
      rows({tensor.data, tensor.dtype, tensor.shape, tensor.strides}, "out", shape);
  return {static_cast<std::uint16_t*>(tensor.data), checked.batch_stride, checked.row_stride};
}

Shape shape_of(const ConstTensorView& x, ModulateKind kind) {
  MONARCH_CHECK(x.rank() == 3, kRoom, "x has shape ", shape_string(x.shape),
                "; expected [batch, tokens, channels]");
  const std::string refusal = modulate_refusal(kind, x.dtype, x.size(2));
  MONARCH_CHECK_CODE(refusal.empty(), kUnsupported, kRoom, refusal);
  return {x.size(0), x.size(1), x.size(2), x.dtype};
}

ModulateArgs sizes(const ConstTensorView& x, const TensorView& out, ModulateKind kind) {
  const Shape shape = shape_of(x, kind);
  ModulateArgs args;
  args.kind = kind;
  args.x = rows(x, "x", shape);
  args.out = result(out, shape);
  args.batch = narrow(shape.batch, "batches");
  args.tokens = args.run_tokens = narrow(shape.rows, "tokens");
  args.channels = narrow(shape.channels, "channels");
  const std::int64_t tokens = shape.batch * shape.rows;
  const std::int64_t pieces = tokens * (shape.channels / 8);
  args.num_blocks =
      kind == ModulateKind::kNorm ? tokens : (pieces + sm80::kNormThreads - 1) / sm80::kNormThreads;
  narrow(args.num_blocks, "thread blocks");
  return args;
}

// Of the modulation; sets how many tokens share a row of it.
Shape runs(const ConstTensorView& modulation, const ConstTensorView& x, ModulateArgs& args) {
  const std::int64_t count = modulation.rank() == 3 ? modulation.size(1) : 0;
  MONARCH_CHECK(count > 0 && x.size(1) % count == 0, kRoom, x.size(1),
                " tokens do not split into runs for a modulation of shape ",
                shape_string(modulation.shape));
  args.run_tokens = static_cast<int>(x.size(1) / count);
  return {x.size(0), count, x.size(2), x.dtype};
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
  const Shape shape = runs(norm.scale, norm.x, args);
  args.scale = rows(norm.scale, "scale", shape, true);
  args.shift = rows(norm.shift, "shift", shape, true);
  args.eps = static_cast<float>(norm.eps);
  return args;
}

ModulateArgs modulate_args(const GatedAdd& add) {
  ModulateArgs args = sizes(add.x, add.out, ModulateKind::kGatedAdd);
  args.y = rows(add.y, "y", shape_of(add.x, args.kind));
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
