// A tile of columns and its walk over the key rows: the ring of K and V in shared memory, and the
// first stage of every row, chunk by chunk.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/first_stage.cuh"
#include "monarch/attention/cuda/sm80/kv_rows.h"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
class KeyWalk : protected FirstStage<T, kHeadDim> {
 protected:
  using Base = FirstStage<T, kHeadDim>;
  using Base::args_;
  using Base::kPieces;
  using Base::row_pitch_bytes;
  using Base::thread_;

  MONARCH_DEVICE explicit KeyWalk(const MonarchForwardArgs& args) : Base(args) {}

  // Calls fold() whenever a_L, Y and c_L of up to kChunkRows key rows lie in shared memory;
  // rows_left_ is how many there are from the first of them on.
  template <typename Fold>
  MONARCH_DEVICE void walk(const Tile& tile, const Fold& fold) {
    locate_keys(tile);
    for (int piece = 0; piece < args_.stages - 1; ++piece) issue_next();
    for (; rows_left_ > 0; rows_left_ -= kChunkRows) {
      for (int chunk_row = 0; chunk_row < kChunkRows; chunk_row += args_.step_rows) {
        const std::uint32_t k_slot = next_piece();
        this->compute_scores(k_slot);
        device::barrier();
        this->compute_weights(chunk_row);
        device::barrier();
        this->compute_means(k_slot, args_.shared.a_l, chunk_row);
        this->compute_means(next_piece(), args_.shared.y, chunk_row);
      }
      device::barrier();
      fold();
    }
  }

  int rows_left_ = 0;

 private:
  // The key rows this block walks over.
  MONARCH_DEVICE void locate_keys(const Tile& tile) {
    const int all_rows = (tile.group + 1) * args_.group_kv_blocks * args_.block_rows;
    const int chunks = (all_rows + kChunkRows - 1) / kChunkRows;
    const auto chunk_of = [&](int split) {
      return static_cast<int>(std::int64_t{chunks} * split / args_.num_splits);
    };
    const int first = chunk_of(tile.split) * kChunkRows;
    const int end = chunk_of(tile.split + 1) * kChunkRows;
    rows_left_ = (end < all_rows ? end : all_rows) - first;
    rows_to_load_ = rows_left_;
    pieces_to_load_ = 2 * (end - first) / args_.step_rows;
    cursor_ = kv_row(args_, first);
    k_ = head_of(args_.k, tile);
    v_ = head_of(args_.v, tile);
    q_piece_ = head_of(args_.q, tile) +
               column_token(args_, tile, thread_ / kPieces) * args_.q.token_stride +
               thread_ % kPieces * 8;
    issue_slot_ = 0;
    use_slot_ = 0;
  }

  // Copies the rows of one key row, [block_cols, D].
  MONARCH_DEVICE void copy_rows(const std::uint16_t* source, std::int64_t stride,
                                std::uint32_t offset) {
    for (int piece = thread_; piece < args_.block_cols * kPieces; piece += kThreads) {
      const int row = piece / kPieces;
      const int d = piece % kPieces * 8;
      const bool valid = d < args_.head_dim;
      device::copy_async(offset + row * row_pitch_bytes() + 2 * d,
                         valid ? source + row * stride + d : source, valid);
    }
  }

  // Q[., k, .] of the tile's columns, for the key row's own k.
  MONARCH_DEVICE void copy_query_row(const KvRow& row, std::uint32_t offset) {
    if (thread_ >= kTileCols * kPieces) return;
    const int d = thread_ % kPieces * 8;
    const bool valid = d < args_.head_dim;
    const std::uint16_t* const source =
        q_piece_ + row.offset_in_block(args_) * args_.q.token_stride;
    device::copy_async(offset + thread_ / kPieces * row_pitch_bytes() + 2 * d,
                       valid ? source : args_.q.data, valid);
  }

  // Starts the copy of the next piece of K or V, if there is one, as one group.
  MONARCH_DEVICE void issue_next() {
    if (pieces_to_load_ > 0) {
      const bool values = pieces_to_load_ % 2 == 1;
      const std::uint16_t* const base = values ? v_ : k_;
      const std::int64_t stride = values ? args_.v.token_stride : args_.k.token_stride;
      KvRow row = cursor_;
      int left = rows_to_load_;
      for (int r = 0; r < args_.step_rows; ++r) {
        const std::uint32_t to = issue_slot_ + r * args_.shared.slot_row_bytes;
        copy_rows(base + row.token * stride, stride, to);
        if (!values) copy_query_row(row, to + args_.block_cols * row_pitch_bytes());
        // Past the end the last row repeats: finite, and masked in the second softmax.
        if (left > 1) row.advance(args_);
        --left;
      }
      if (values) {
        cursor_ = row;
        rows_to_load_ = left;
      }
      --pieces_to_load_;
    }
    issue_slot_ = next_slot(issue_slot_);
    device::copy_async_commit();
  }

  MONARCH_DEVICE std::uint32_t next_slot(std::uint32_t slot) const {
    const std::uint32_t next = slot + args_.shared.slot_bytes;
    return next == args_.shared.scores ? 0 : next;  // the ring ends where the scores begin
  }

  // Waits until the next piece is there for all threads; its offset. The slot before it is free
  // then, and takes the next copy.
  MONARCH_DEVICE std::uint32_t next_piece() {
    if (args_.stages == 4) {
      device::copy_async_wait<2>();
    } else if (args_.stages == 3) {
      device::copy_async_wait<1>();
    } else {
      device::copy_async_wait<0>();
    }
    device::barrier();
    issue_next();
    const std::uint32_t slot = use_slot_;
    use_slot_ = next_slot(use_slot_);
    return slot;
  }

  // The copies: where they are, and how much is left of them.
  const std::uint16_t* q_piece_ = nullptr;  // Q that this thread copies for the first stage, at k 0
  const std::uint16_t* k_ = nullptr;
  const std::uint16_t* v_ = nullptr;
  KvRow cursor_;
  int rows_to_load_ = 0;
  int pieces_to_load_ = 0;
  std::uint32_t issue_slot_ = 0;
  std::uint32_t use_slot_ = 0;
};

}  // namespace monarch::attention::cuda::sm80
