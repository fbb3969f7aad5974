// Monarch attention (MonarchRT, arXiv 2602.12271), forward, one refinement step, fused: a_L and Y
// never leave shared memory.                                     s = softmax scale
//   Q [a,i,j]   K,V [f,k,l]   i,k: block rows   j,l: block columns   D = head_dim
//   R [f,k,j,l] = softmax_l( s Q[a,k,j].K[f,k,l] )         c_L[j,(f,k)] = sum_l R log R
//   a_L[j,(f,k)] = sum_l R K[f,k,l]                        Y[j,(f,k)] = sum_l R V[f,k,l]
//   out[a,i,j] = sum_(f,k) softmax_(f,k)( s Q[a,i,j].a_L - c_L ) Y
//
// A thread block takes kTileCols columns (a, j) of query blocks that see the same keys, and 16 or
// 32 of their rows i, and walks over the key rows (f, k). K and V of each, [block_cols, D], stream
// through a ring in shared memory, K_0 V_0 K_1 V_1 .., with Q[., k, .] of the tile's columns behind
// K. In a step of one or two key rows:
//   scores   S^T[l, j] = K Q^T: warps share the tiles of 16 l and the halves of D
//   softmax  over l, 16 threads a column; e = 2^(x - max) stays unnormalised in 16 bits, so that
//            the largest weight is exact; their sum divides a_L and Y, which are then convex
//            combinations of keys and values to the last bit of a float
//   means    a_L^T[d, j] = K^T e^T, Y^T[d, j] = V^T e^T: warps share the tiles of 16 d
// and after kChunkRows key rows each warp folds them into the running softmax of its own column:
//   S2[i, (f,k)] = Q a_L^T, p = 2^(s S2 - c_L - max), out += p Y, Q and out in registers.
//
// Matrix instructions a key row and tile (52 columns, 32 rows, D 128): 32 + 28 + 28 in the first
// stage, 32 in the second. The rest of the machine a key row: 29 KB from the second level of cache,
// 52 KB out of shared memory. Where the tensor cores are narrow (sm_86, sm_89, sm_120: 8 Ki
// multiply-adds in 32 cycles) they are what limits; on sm_80 and sm_90 it is the second level of
// cache, which sm90/monarch_forward.cuh relieves by multicast. More than 32 rows a block
// repeat the first stage for every 32.
#pragma once

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/key_walk.cuh"
#include "monarch/attention/cuda/sm80/second_stage.cuh"
#include "monarch/attention/cuda/sm80/tile.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, int kRowFragments>
class MonarchForwardBlock : SecondStage<T, kHeadDim, kRowFragments, false, KeyWalk<T, kHeadDim>> {
  using Base = SecondStage<T, kHeadDim, kRowFragments, false, KeyWalk<T, kHeadDim>>;
  using Base::args_;
  using Base::warp_;

 public:
  MONARCH_DEVICE explicit MonarchForwardBlock(const MonarchForwardArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    {
      const Tile where = tile();
      this->load_queries(where, column_token(args_, where, warp_));
      this->walk(where, [this] { this->fold_chunk(this->rows_left_); });
    }
    const Tile where = tile();
    this->store(where, column_token(args_, where, warp_), column_exists(args_, where, warp_));
  }

 private:
  // Found again for the end, not kept: registers are short.
  MONARCH_DEVICE Tile tile() const {
    return locate_tile(args_, device::block_index(), 16 * kRowFragments);
  }
};

}  // namespace monarch::attention::cuda::sm80
