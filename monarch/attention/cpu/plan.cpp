#include "monarch/attention/cpu/plan.h"

#include <algorithm>

namespace monarch::attention::cpu {

void check_lse(const float* lse) {
  MONARCH_CHECK(lse != nullptr,
                "[monarch_attention] the backward needs the forward's lse; pass one to its run()");
}

WorkspaceCutter::WorkspaceCutter(std::span<std::byte> workspace, std::size_t bytes) {
  check_workspace(workspace, bytes);
  const auto address = reinterpret_cast<std::uintptr_t>(workspace.data());
  base_ = workspace.data() + (kLine - address % kLine) % kLine;
}

void* WorkspaceCutter::take_bytes(std::size_t bytes) {
  void* piece = base_ == nullptr ? nullptr : base_ + used_;
  used_ += (bytes + kLine - 1) / kLine * kLine;
  return piece;
}

ScratchSpace WorkspaceCutter::take_scratch(std::size_t floats, int num_threads) {
  const std::size_t padded = (floats + 15) / 16 * 16;
  return {take<float>(static_cast<std::int64_t>(padded) * num_threads), padded};
}

void fill_zero(const ParallelLoop& loop, int num_threads, float* floats, std::int64_t count) {
  constexpr std::int64_t kPiece = 1 << 16;
  loop(num_threads, (count + kPiece - 1) / kPiece, [&](std::int64_t task, int /*thread*/) {
    const std::int64_t first = task * kPiece;
    std::fill_n(floats + first, std::min(kPiece, count - first), 0.0F);
  });
}

void store_heads(const Kernels& kernels, const ParallelLoop& loop, int num_threads,
                 const StoreHeads& what, StoreRowsArgs args) {
  constexpr std::int64_t kRows = 256;
  const std::int64_t pieces = (what.count + kRows - 1) / kRows;
  loop(num_threads, what.heads * pieces, [&](std::int64_t task, int /*thread*/) {
    const std::int64_t unit = task / pieces;
    const std::int64_t head = what.first_head + unit;
    StoreRowsArgs mine = args;
    mine.rows += unit * what.stride;
    mine.offset =
        head / what.num_heads * args.to.batch_stride + head % what.num_heads * args.to.head_stride;
    const std::int64_t first = task % pieces * kRows;
    kernels.store_rows(mine, first, std::min(first + kRows, what.count));
  });
}

}  // namespace monarch::attention::cpu
