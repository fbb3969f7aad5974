#include "monarch/attention/layout.h"

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace monarch::attention {
namespace {

template <typename View>
auto row_bytes(const View& view, std::int64_t batch, std::int64_t token, std::int64_t head) {
  const std::int64_t offset =
      batch * view.strides[0] + token * view.strides[1] + head * view.strides[2];
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(view.data)>>,
                                  const std::byte, std::byte>;
  return static_cast<Byte*>(view.data) + offset * static_cast<std::int64_t>(dtype_size(view.dtype));
}

void check_pair(const BlockLayout& layout, const ConstTensorView& tokens, std::int64_t start,
                const ConstTensorView& blocks) {
  MONARCH_CHECK(
      tokens.rank() == 4 && blocks.rank() == 4,
      "[monarch_attention] reordering takes tensors [batch, tokens, heads, head_dim]; got ",
      shape_string(tokens.shape), " and ", shape_string(blocks.shape));
  MONARCH_CHECK(tokens.dtype == blocks.dtype, "[monarch_attention] reordering from ",
                dtype_name(tokens.dtype), " to ", dtype_name(blocks.dtype),
                "; both sides need one dtype");
  MONARCH_CHECK(tokens.size(0) == blocks.size(0) && tokens.size(2) == blocks.size(2) &&
                    tokens.size(3) == blocks.size(3),
                "[monarch_attention] shapes ", shape_string(tokens.shape), " and ",
                shape_string(blocks.shape), " may differ only in the number of tokens");
  MONARCH_CHECK(tokens.strides[3] == 1 && blocks.strides[3] == 1,
                "[monarch_attention] head_dim must be contiguous; its strides are ",
                tokens.strides[3], " and ", blocks.strides[3]);
  const std::int64_t group = layout.f_tied * layout.frame_tokens();
  MONARCH_CHECK(tokens.size(1) % group == 0 && start % group == 0, "[monarch_attention] ",
                tokens.size(1), " tokens at position ", start,
                " are not whole groups of f_tied * height * width = ", group, " tokens");
  MONARCH_CHECK(start >= 0 && tokens.size(1) >= 0 && tokens.size(1) <= blocks.size(1) &&
                    start <= blocks.size(1) - tokens.size(1),
                "[monarch_attention] ", tokens.size(1), " tokens at position ", start,
                " lie outside the cache of ", blocks.size(1), " tokens");
  MONARCH_CHECK(tokens.data != nullptr && blocks.data != nullptr,
                "[monarch_attention] the tokens or the cache have no data");
}

}  // namespace

ConstTensorView read_only(const TensorView& view) {
  return {view.data, view.dtype, view.shape, view.strides};
}

void copy_to_block_order(const BlockLayout& layout, const ConstTensorView& tokens,
                         std::int64_t start, const TensorView& blocks) {
  check_pair(layout, tokens, start, read_only(blocks));
  const std::size_t bytes = static_cast<std::size_t>(tokens.size(3)) * dtype_size(tokens.dtype);
  for (std::int64_t batch = 0; batch < tokens.size(0); ++batch) {
    for (std::int64_t token = 0; token < tokens.size(1); ++token) {
      const std::int64_t position = start + layout.position_of_token(token);
      for (std::int64_t head = 0; head < tokens.size(2); ++head) {
        std::memcpy(row_bytes(blocks, batch, position, head), row_bytes(tokens, batch, token, head),
                    bytes);
      }
    }
  }
}

void copy_to_token_order(const BlockLayout& layout, const ConstTensorView& blocks,
                         std::int64_t start, const TensorView& tokens) {
  check_pair(layout, read_only(tokens), start, blocks);
  const std::size_t bytes = static_cast<std::size_t>(tokens.size(3)) * dtype_size(tokens.dtype);
  for (std::int64_t batch = 0; batch < tokens.size(0); ++batch) {
    for (std::int64_t token = 0; token < tokens.size(1); ++token) {
      const std::int64_t position = start + layout.position_of_token(token);
      for (std::int64_t head = 0; head < tokens.size(2); ++head) {
        std::memcpy(row_bytes(tokens, batch, token, head), row_bytes(blocks, batch, position, head),
                    bytes);
      }
    }
  }
}

}  // namespace monarch::attention
