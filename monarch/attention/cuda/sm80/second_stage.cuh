// The second stage of Monarch attention (monarch_forward.cuh) for one column a warp: chunks of a_L,
// Y and c_L in shared memory are folded into a running softmax; Q and out stay in registers.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_forward_args.h"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

// On top of a first stage, which has args_, and this thread's warp_ (its column in the tile),
// lane_, g_ and t_.
template <typename T, int kHeadDim, int kRowFragments, bool kSharedQueries, typename First>
class SecondStage : protected First {
 protected:
  using First::args_;
  using First::g_;
  using First::lane_;
  using First::t_;
  using First::warp_;
  static constexpr int kDepth = kHeadDim / 16;

  template <typename Args>
  MONARCH_DEVICE explicit SecondStage(const Args& args) : First(args) {}

  // Q of this warp's column, which begins at token `column`, as the left operand of S2: kept in
  // registers, or, where those are short, in shared memory, to be read after a barrier.
  MONARCH_DEVICE void load_queries(const Tile& tile, int column) {
    const std::uint16_t* const q = head_of(args_.q, tile);
    const auto row_of = [&](int fragment_row) {
      const int i = tile.first_row + fragment_row;
      return q + std::int64_t{column +
                              row_offset(args_, i < args_.block_rows ? i : args_.block_rows - 1)} *
                     args_.q.token_stride;
    };
    MONARCH_UNROLL
    for (int fragment = 0; fragment < kRowFragments; ++fragment) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        max_[fragment][half] = -INFINITY;
        if constexpr (!kSharedQueries) {
          const std::uint16_t* const row = row_of(16 * fragment + 8 * half + g_);
          MONARCH_UNROLL
          for (int depth = 0; depth < kDepth; ++depth) {
            MONARCH_UNROLL
            for (int side = 0; side < 2; ++side) {
              const int d = 16 * depth + 8 * side + 2 * t_;
              q_[fragment][depth][2 * side + half] =
                  d < args_.head_dim ? *reinterpret_cast<const std::uint32_t*>(row + d) : 0;
            }
          }
        }
      }
    }
    if constexpr (kSharedQueries) {
      constexpr int kPieces = kHeadDim / 8;
      for (int piece = lane_; piece < 16 * kRowFragments * kPieces; piece += kWarpSize) {
        const int d = piece % kPieces * 8;
        device::store_shared(query_row(piece / kPieces) + 2 * d,
                             d < args_.head_dim
                                 ? *reinterpret_cast<const Piece*>(row_of(piece / kPieces) + d)
                                 : Piece{});
      }
    }
  }

  // One chunk of key rows, of which `rows_left` exist or all, into the running softmax.
  MONARCH_DEVICE void fold_chunk(int rows_left) {
    const std::uint32_t column =
        warp_ * args_.shared.column_pitch + lane_ % 8 * row_pitch(kHeadDim) + lane_ / 8 * 16;
    float score[kRowFragments][4] = {};
    MONARCH_UNROLL
    for (int pair = 0; pair < kDepth / 2; ++pair) {
      std::uint32_t a_l[4];
      device::load_matrices(a_l, args_.shared.a_l + column + 64 * pair);
      MONARCH_UNROLL
      for (int fragment = 0; fragment < kRowFragments; ++fragment) {
        multiply_queries(score[fragment], fragment, 2 * pair, {a_l[0], a_l[1]});
        multiply_queries(score[fragment], fragment, 2 * pair + 1, {a_l[2], a_l[3]});
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
        even = 2 * t_ < rows_left ? even * args_.scale_log2 - c_even : -INFINITY;
        odd = 2 * t_ + 1 < rows_left ? odd * args_.scale_log2 - c_odd : -INFINITY;
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

  MONARCH_DEVICE void store(const Tile& tile, int column, bool exists) const {
    const bool partial = args_.num_splits > 1;
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

 private:
  struct alignas(16) Piece {
    std::uint32_t words[4];
  };
  MONARCH_DEVICE std::uint32_t query_row(int i) const {
    return args_.shared.queries + (warp_ * 16 * kRowFragments + i) * row_pitch(kHeadDim);
  }
  // score += Q a_L^T over 16 of D.
  MONARCH_DEVICE void multiply_queries(float (&score)[4], int fragment, int depth,
                                       const std::uint32_t (&a_l)[2]) const {
    if constexpr (kSharedQueries) {
      std::uint32_t q[4];
      device::load_matrices(q,
                            query_row(16 * fragment + lane_ % 16) + lane_ / 16 * 16 + 32 * depth);
      device::multiply<T>(score, q, a_l);
    } else {
      device::multiply<T>(score, q_[fragment][depth], a_l);
    }
  }

  std::uint32_t q_[kRowFragments][kDepth][4];  // unless in shared memory
  float out_[kRowFragments][kHeadDim / 8][4] = {};
  float max_[kRowFragments][2];
  float sum_[kRowFragments][2] = {};
};

}  // namespace monarch::attention::cuda::sm80
