// Tensors [B, N, C] and modulations of them, [B or 1, R, C], as the kernels take them, checked.
#pragma once

#include <cstdint>
#include <string_view>

#include "monarch/attention/cuda/modulate_args.h"
#include "monarch/base/tensor_view.h"

namespace monarch::attention::cuda {

struct RowsShape {
  std::int64_t batch = 1;
  std::int64_t rows = 1;
  std::int64_t channels = 0;
  DType dtype = DType::kBF16;
};

// Of the tokens x. Throws where the kernels refuse their type or channels.
RowsShape token_shape(const ConstTensorView& x, ModulateKind kind);
// Of a modulation of the tokens x for all batches; throws unless its runs split them.
RowsShape modulation_shape(const ConstTensorView& modulation, const ConstTensorView& x);

// Throws unless the tensor has the shape and dtype, is 16-byte aligned and contiguous in channels,
// with other strides that are multiples of 8 elements. `shared`: one batch may serve all.
Rows<const std::uint16_t> rows(const ConstTensorView& tensor, std::string_view name,
                               const RowsShape& shape, bool shared = false);
Rows<std::uint16_t> result_rows(const TensorView& tensor, std::string_view name,
                                const RowsShape& shape, bool shared = false);

// Thread blocks for what works on eight channels a thread.
std::int64_t blocks_of_pieces(const RowsShape& shape);

}  // namespace monarch::attention::cuda
