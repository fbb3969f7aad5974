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
// cache, which a version with clusters would relieve by multicast. More than 32 rows a block
// repeat the first stage for every 32.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/key_walk.cuh"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, int kRowFragments>
class MonarchForwardBlock : KeyWalk<T, kHeadDim> {
  using Base = KeyWalk<T, kHeadDim>;
  using Base::args_;
  using Base::g_;
  using Base::kDepth;
  using Base::lane_;
  using Base::rows_left_;
  using Base::t_;
  using Base::warp_;

 public:
  MONARCH_DEVICE explicit MonarchForwardBlock(const MonarchForwardArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    {
      const Tile where = tile();
      load_queries(where);
      this->walk(where, [this] { fold_chunk(); });
    }
    store(tile());
  }

 private:
  // Found again for the end, not kept: registers are short.
  MONARCH_DEVICE Tile tile() const {
    return locate_tile(args_, device::block_index(), 16 * kRowFragments);
  }

  // Q of this warp's column as the left operand of S2, kept.
  MONARCH_DEVICE void load_queries(const Tile& tile) {
    const std::uint16_t* const q = head_of(args_.q, tile);
    const int column = column_token(args_, tile, warp_);
    MONARCH_UNROLL
    for (int fragment = 0; fragment < kRowFragments; ++fragment) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = tile.first_row + 16 * fragment + 8 * half + g_;
        const std::uint16_t* const row =
            q + std::int64_t{column +
                             row_offset(args_, i < args_.block_rows ? i : args_.block_rows - 1)} *
                    args_.q.token_stride;
        MONARCH_UNROLL
        for (int depth = 0; depth < kDepth; ++depth) {
          MONARCH_UNROLL
          for (int side = 0; side < 2; ++side) {
            const int d = 16 * depth + 8 * side + 2 * t_;
            q_[fragment][depth][2 * side + half] =
                d < args_.head_dim ? *reinterpret_cast<const std::uint32_t*>(row + d) : 0;
          }
        }
        max_[fragment][half] = -INFINITY;
      }
    }
  }

  // One chunk of key rows into the running softmax of this warp's column.
  MONARCH_DEVICE void fold_chunk() {
    const std::uint32_t column =
        warp_ * args_.shared.column_pitch + lane_ % 8 * Base::row_pitch_bytes() + lane_ / 8 * 16;
    float score[kRowFragments][4] = {};
    MONARCH_UNROLL
    for (int pair = 0; pair < kDepth / 2; ++pair) {
      std::uint32_t a_l[4];
      device::load_matrices(a_l, args_.shared.a_l + column + 64 * pair);
      MONARCH_UNROLL
      for (int fragment = 0; fragment < kRowFragments; ++fragment) {
        device::multiply<T>(score[fragment], q_[fragment][2 * pair], {a_l[0], a_l[1]});
        device::multiply<T>(score[fragment], q_[fragment][2 * pair + 1], {a_l[2], a_l[3]});
      }
    }
    std::uint32_t p[kRowFragments][2];
    bool grew = false;
    float scale[kRowFragments][2];
    const std::uint32_t c_l = args_.shared.c_l + 4 * (warp_ * kChunkRows + 2 * t_);
    const auto c_even = device::load_shared<float>(c_l);
    const auto c_odd = device::load_shared<float>(c_l + 4);
    MONARCH_UNROLL
    for (int fragment = 0; fragment < kRowFragments; ++fragment) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        float& even = score[fragment][2 * half];
        float& odd = score[fragment][2 * half + 1];
        even = 2 * t_ < rows_left_ ? even * args_.scale_log2 - c_even : -INFINITY;
        odd = 2 * t_ + 1 < rows_left_ ? odd * args_.scale_log2 - c_odd : -INFINITY;
        float max = fmaxf(even, odd);
        max = fmaxf(max, device::shuffle_xor(max, 1));
        max = fmaxf(max, device::shuffle_xor(max, 2));
        max = fmaxf(max, max_[fragment][half]);
        scale[fragment][half] = device::exp2(max_[fragment][half] - max);
        grew = grew || max_[fragment][half] != max;
        max_[fragment][half] = max;
        even = device::exp2(even - max);
        odd = device::exp2(odd - max);
        sum_[fragment][half] = sum_[fragment][half] * scale[fragment][half] + even + odd;
        p[fragment][half] = device::pack<T>(even, odd);
      }
    }
    if (device::any(grew)) {
      MONARCH_UNROLL
      for (int fragment = 0; fragment < kRowFragments; ++fragment) {
        MONARCH_UNROLL
        for (int tile = 0; tile < kHeadDim / 8; ++tile) {
          MONARCH_UNROLL
          for (int entry = 0; entry < 4; ++entry) {
            out_[fragment][tile][entry] *= scale[fragment][entry / 2];
          }
        }
      }
    }
    MONARCH_UNROLL
    for (int four = 0; four < kHeadDim / 32; ++four) {
      std::uint32_t y[4];
      device::load_matrices_transposed(y, args_.shared.y + column + 64 * four);
      MONARCH_UNROLL
      for (int tile = 0; tile < 4; ++tile) {
        MONARCH_UNROLL
        for (int fragment = 0; fragment < kRowFragments; ++fragment) {
          device::multiply<T>(out_[fragment][4 * four + tile], p[fragment], y[tile]);
        }
      }
    }
  }

  MONARCH_DEVICE void store(const Tile& tile) {
    const bool partial = args_.num_splits > 1;
    const bool exists = column_exists(args_, tile, warp_);
    const int column = column_token(args_, tile, warp_);
    const std::int64_t unit = std::int64_t{tile.batch} * args_.num_heads + tile.head;
    const std::int64_t split_unit = std::int64_t{tile.split} * args_.batch * args_.num_heads + unit;
    MONARCH_UNROLL
    for (int fragment = 0; fragment < kRowFragments; ++fragment) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        float sum = sum_[fragment][half];
        sum += device::shuffle_xor(sum, 1);
        sum += device::shuffle_xor(sum, 2);
        const int i = tile.first_row + 16 * fragment + 8 * half + g_;
        if (i >= args_.block_rows || !exists) continue;
        const int token = column + row_offset(args_, i);
        const float inverse = 1.0F / sum;
        const float lse_log2 = max_[fragment][half] + device::log2(sum);
        if (t_ == 0) {
          if (partial) {
            args_.partial_lse[split_unit * args_.q_tokens + token] = lse_log2;
          } else if (args_.lse != nullptr) {
            args_.lse[unit * args_.q_tokens + token] = kLn2 * lse_log2;
          }
        }
        MONARCH_UNROLL
        for (int n = 0; n < kHeadDim / 8; ++n) {
          const int d = 8 * n + 2 * t_;
          if (d >= args_.head_dim) continue;
          const float first = out_[fragment][n][2 * half] * inverse;
          const float second = out_[fragment][n][2 * half + 1] * inverse;
          if (partial) {
            float* const to =
                args_.partial_out + (split_unit * args_.q_tokens + token) * args_.head_dim + d;
            to[0] = first;
            to[1] = second;
          } else {
            *reinterpret_cast<std::uint32_t*>(head_of(args_.out, tile) +
                                              token * args_.out.token_stride + d) =
                device::pack<T>(first, second);
          }
        }
      }
    }
  }

  std::uint32_t q_[kRowFragments][kDepth][4];
  float out_[kRowFragments][kHeadDim / 8][4] = {};
  float max_[kRowFragments][2];
  float sum_[kRowFragments][2] = {};
};

}  // namespace monarch::attention::cuda::sm80
