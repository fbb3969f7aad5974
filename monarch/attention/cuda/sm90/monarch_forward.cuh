// Monarch attention, forward, one refinement step, fused, for sm_90a. What it computes and the
// second stage are the portable kernel's (sm80/monarch_forward.cuh); how key rows arrive and the
// first stage are its own.
//
// A thread block takes eight columns j of one query block and 16 or 32 of its rows. One thread of
// it copies key rows by tensor map into a ring of three pieces (key_ring.cuh); two warpgroups have
// one row each of a step of two, and share nothing until a chunk of eight rows is there:
//   scores   S^T[l, j] = K Q^T, 64 x 8, and their softmax over l, across the group's four warps
//   means    a_L^T[d, j] = K^T e^T and Y^T[d, j] = V^T e^T, 64 x 8 for each 64 of D
// Then each warp folds the chunk into the running softmax of its own column.
//
// The blocks of a cluster of up to four walk over the same keys: each copies its share of every
// piece to all of them, so a key row leaves the second level of cache once a cluster, 26 KB (52
// columns, D 128), not once a block as in the portable kernel, and what limits by count is shared
// memory: 49 KB of keys and values a row and block as left operands of the products. Not measured.
#pragma once

#include "monarch/attention/cuda/common/device_sm90.h"
#include "monarch/attention/cuda/monarch_sm90_args.h"
#include "monarch/attention/cuda/sm80/second_stage.cuh"
#include "monarch/attention/cuda/sm90/first_stage.cuh"
#include "monarch/attention/cuda/sm90/key_ring.cuh"
#include "monarch/attention/cuda/sm90/tiles.h"

namespace monarch::attention::cuda::sm90 {

template <typename T, int kHeadDim, int kRowFragments>
class MonarchColumns
    : sm80::SecondStage<T, kHeadDim, kRowFragments, true, FirstStage<T, kHeadDim>> {
  using Base = sm80::SecondStage<T, kHeadDim, kRowFragments, true, FirstStage<T, kHeadDim>>;
  using Base::args_;
  using Base::warp_;

 public:
  MONARCH_DEVICE explicit MonarchColumns(const MonarchSm90Args& args) : Base(args) {}

  // By the consumers' threads.
  MONARCH_DEVICE void run() {
    {
      const Place where = place();
      this->load_queries(where.tile, column_token(where));
      for (int left = key_range(args_, where.tile).count; left > 0; left -= kChunkRows) {
        for (int row = warp_ / 4; row < kChunkRows; row += kStepRows) this->compute_row(row);
        this->consumers_barrier();
        this->fold_chunk(left);
      }
    }
    const Place where = place();
    this->store(where.tile, column_token(where),
                where.exists && where.first_col + warp_ < args_.block_cols);
  }

 private:
  // Found again for the end, not kept: registers are short.
  MONARCH_DEVICE Place place() const { return locate(this->all_, 16 * kRowFragments); }
  // Of this warp's column; beyond the last, the last.
  MONARCH_DEVICE int column_token(const Place& where) const {
    const int col = where.first_col + warp_;
    const int last = args_.block_cols - 1;
    return sm80::first_token(args_, where.block) + (col < last ? col : last);
  }
};

// By all threads of a block.
template <typename T, int kHeadDim, int kRowFragments>
MONARCH_DEVICE void monarch_forward(const MonarchSm90Args& args) {
  KeyRing<kHeadDim>::prepare(args);
  const int thread = device::thread_index();
  if (thread < kConsumers * kGroupThreads) {
    device::claim_registers<kConsumerRegisters>();
    MonarchColumns<T, kHeadDim, kRowFragments>(args).run();
  } else {
    device::release_registers<kProducerRegisters>();
    if (thread == kConsumers * kGroupThreads) {
      KeyRing<kHeadDim>::produce(args, locate(args, 16 * kRowFragments));
    }
  }
  device::cluster_barrier();  // no block returns while another copies to it or arrives in it
}

}  // namespace monarch::attention::cuda::sm90
