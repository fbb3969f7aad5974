#include "monarch/attention/cuda/modulate_rows.h"

#include <cstddef>
#include <string>

#include "monarch/attention/cuda/modulate.h"
#include "monarch/attention/cuda/sm80/tiles.h"
#include "monarch/attention/cuda/tensors.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {

RowsShape token_shape(const ConstTensorView& x, ModulateKind kind) {
  MONARCH_CHECK(x.rank() == 3, kRoom, "x has shape ", shape_string(x.shape),
                "; expected [batch, tokens, channels]");
  const std::string refusal = modulate_refusal(kind, x.dtype, x.size(2));
  MONARCH_CHECK_CODE(refusal.empty(), kUnsupported, kRoom, refusal);
  return {x.size(0), x.size(1), x.size(2), x.dtype};
}

RowsShape modulation_shape(const ConstTensorView& modulation, const ConstTensorView& x) {
  const std::int64_t runs = modulation.rank() == 3 ? modulation.size(1) : 0;
  MONARCH_CHECK(runs > 0 && x.size(1) % runs == 0, kRoom, x.size(1),
                " tokens do not split into runs for a modulation of shape ",
                shape_string(modulation.shape));
  return {x.size(0), runs, x.size(2), x.dtype};
}

Rows<const std::uint16_t> rows(const ConstTensorView& tensor, std::string_view name,
                               const RowsShape& shape, bool shared) {
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

Rows<std::uint16_t> result_rows(const TensorView& tensor, std::string_view name,
                                const RowsShape& shape, bool shared) {
  const Rows<const std::uint16_t> checked = rows(read_only(tensor), name, shape, shared);
  return {static_cast<std::uint16_t*>(tensor.data), checked.batch_stride, checked.row_stride};
}

std::int64_t blocks_of_pieces(const RowsShape& shape) {
  const std::int64_t pieces = shape.batch * shape.rows * (shape.channels / 8);
  return (pieces + sm80::kNormThreads - 1) / sm80::kNormThreads;
}

}  // namespace monarch::attention::cuda
