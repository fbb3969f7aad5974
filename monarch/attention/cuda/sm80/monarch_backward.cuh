// Monarch attention, backward, one refinement step. Everything is recomputed but the log-sum-exp;
// s = softmax scale, G = grad_out, columns and key rows as in monarch_forward.cuh.
//
//   second stage, here: a tile of columns walks over the key rows as in the forward
//     L[i] = exp( s Q[i].a_L - c_L - lse[i] )     dx[i] = L[i] (G[i].Y - G[i].out[i])
//     dQ[i] = s sum_(f,k) dx[i] a_L               dY = sum_i L[i] G[i]
//     da_L = s sum_i dx[i] Q[i]                   dc_L = - sum_i dx[i]
//   first stage, in gradient_pair.cuh, from da_L, dY and dc_L in device memory
//     u_l = da_L.K[l] + dc_L log R_l + dY.V[l]    dz_l = s R_l (u_l - sum_l R_l u_l)
//     dQ[a,k,j] += sum_(f,l) dz_l K[f,k,l]
//     dK[f,k,l] = sum_(a,j) dz_l Q[a,k,j] + R_l da_L        dV[f,k,l] = sum_(a,j) R_l dY
//
// da_L and dY are sums over all rows i of a column, so one thread block takes them all, 16 at a
// time: with Q, G and dQ in registers there is no room for more. Every sum has one owner and one
// order: no atomics, the same bits every time.
#pragma once

#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/sm80/key_walk.cuh"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
class MonarchBackwardBlock : KeyWalk<T, kHeadDim> {
  using Base = KeyWalk<T, kHeadDim>;
  using Base::args_;
  using Base::g_;
  using Base::kDepth;
  using Base::lane_;
  using Base::rows_left_;
  using Base::t_;
  using Base::warp_;

 public:
  MONARCH_DEVICE explicit MonarchBackwardBlock(const MonarchBackwardArgs& args)
      : Base(args.forward), all_(args) {}

  MONARCH_DEVICE void run() {
    const int tiles = args_.column_tiles * args_.num_groups;
    unit_ = device::block_index() / tiles;
    const Tile tile =
        locate_tile(args_, device::block_index() + all_.first_unit * tiles, args_.block_rows);
    exists_ = column_exists(args_, tile, warp_);
    const int column = tile.group * args_.group_blocks * args_.block_cols + tile.first_col + warp_;
    const std::int64_t first_row = (std::int64_t{unit_} * all_.columns + column) * all_.kv_rows;
    for (first_row_ = 0; first_row_ < args_.block_rows; first_row_ += 16) {
      load_queries(tile);
      row_ = first_row;
      this->walk(tile, [this] { fold_chunk(); });
      store(tile);
    }
  }

 private:
  // Q and G of 16 rows of this warp's column as left operands; lse and G . out of each.
  MONARCH_DEVICE void load_queries(const Tile& tile) {
    const int column = column_token(args_, tile, warp_);
    const std::int64_t unit = std::int64_t{tile.batch} * args_.num_heads + tile.head;
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int i = first_row_ + 8 * half + g_;
      const bool counts = i < args_.block_rows;
      const std::int64_t token = column + row_offset(args_, counts ? i : args_.block_rows - 1);
      const std::uint16_t* const q = head_of(args_.q, tile) + token * args_.q.token_stride;
      const std::uint16_t* const grad =
          head_of(all_.grad_out, tile) + token * all_.grad_out.token_stride;
      const std::uint16_t* const out = head_of(all_.out, tile) + token * all_.out.token_stride;
      float product = 0;
      MONARCH_UNROLL
      for (int depth = 0; depth < kDepth; ++depth) {
        MONARCH_UNROLL
        for (int side = 0; side < 2; ++side) {
          const int d = 16 * depth + 8 * side + 2 * t_;
          const bool inside = d < args_.head_dim;
          const std::uint32_t g_pair = inside ? word(grad + d) : 0;
          q_[depth][2 * side + half] = inside ? word(q + d) : 0;
          grad_[depth][2 * side + half] = g_pair;
          float a[2];
          float b[2];
          device::unpack<T>(g_pair, a);
          device::unpack<T>(inside ? word(out + d) : 0, b);
          product += a[0] * b[0] + a[1] * b[1];
        }
      }
      product += device::shuffle_xor(product, 1);
      product += device::shuffle_xor(product, 2);
      grad_dot_out_[half] = product;
      lse_log2_[half] = kLog2E * all_.lse[unit * args_.q_tokens + token];
      counts_[half] = counts;
    }
    MONARCH_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      MONARCH_UNROLL
      for (int entry = 0; entry < 4; ++entry) grad_q_[n][entry] = 0;
    }
  }
  MONARCH_DEVICE static std::uint32_t word(const std::uint16_t* pair) {
    return *reinterpret_cast<const std::uint32_t*>(pair);
  }

  MONARCH_DEVICE void fold_chunk() {
    const std::uint32_t column =
        warp_ * args_.shared.column_pitch + lane_ % 8 * Base::row_pitch_bytes() + lane_ / 8 * 16;
    float score[4] = {};
    float grad_y[4] = {};  // G . Y
    MONARCH_UNROLL
    for (int pair = 0; pair < kDepth / 2; ++pair) {
      std::uint32_t rows[4];
      device::load_matrices(rows, args_.shared.a_l + column + 64 * pair);
      device::multiply<T>(score, q_[2 * pair], {rows[0], rows[1]});
      device::multiply<T>(score, q_[2 * pair + 1], {rows[2], rows[3]});
      device::load_matrices(rows, args_.shared.y + column + 64 * pair);
      device::multiply<T>(grad_y, grad_[2 * pair], {rows[0], rows[1]});
      device::multiply<T>(grad_y, grad_[2 * pair + 1], {rows[2], rows[3]});
    }
    std::uint32_t weight[2];  // L and dx of rows i, two key rows a word
    std::uint32_t dx[2];
    float dx_sum[2] = {};
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      float l[2];
      float d[2];
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        const int row = 2 * t_ + side;
        const auto c_l =
            device::load_shared<float>(args_.shared.c_l + 4 * (warp_ * kChunkRows + row));
        const bool counts = counts_[half] && row < rows_left_;
        l[side] =
            counts ? device::exp2(score[2 * half + side] * args_.scale_log2 - c_l - lse_log2_[half])
                   : 0.0F;
        d[side] = counts ? l[side] * (grad_y[2 * half + side] - grad_dot_out_[half]) : 0.0F;
        dx_sum[side] += d[side];
      }
      weight[half] = device::pack<T>(l[0], l[1]);
      dx[half] = device::pack<T>(d[0], d[1]);
    }
    MONARCH_UNROLL
    for (int four = 0; four < kHeadDim / 32; ++four) {
      std::uint32_t a_l[4];
      device::load_matrices_transposed(a_l, args_.shared.a_l + column + 64 * four);
      MONARCH_UNROLL
      for (int n = 0; n < 4; ++n) device::multiply<T>(grad_q_[4 * four + n], dx, a_l[n]);
    }
    store_sums(weight, dx, dx_sum);
    row_ += kChunkRows;
  }

  // da_L, dY and dc_L of the chunk's rows: from these 16 rows i, added to those of the rows before.
  MONARCH_DEVICE void store_sums(const std::uint32_t (&weight)[2], const std::uint32_t (&dx)[2],
                                 float (&dx_sum)[2]) {
    MONARCH_UNROLL
    for (float& sum : dx_sum) {
      MONARCH_UNROLL
      for (int mask = 4; mask < kWarpSize; mask *= 2) sum += device::shuffle_xor(sum, mask);
    }
    const std::uint32_t dx_columns[2] = {device::transposed(dx[0]), device::transposed(dx[1])};
    const std::uint32_t weight_columns[2] = {device::transposed(weight[0]),
                                             device::transposed(weight[1])};
    const bool stores[2] = {exists_ && 2 * t_ < rows_left_, exists_ && 2 * t_ + 1 < rows_left_};
    const std::int64_t row = row_ + 2 * t_;
    MONARCH_UNROLL
    for (int side = 0; side < 2; ++side) {
      if (g_ == 0 && stores[side]) add(all_.d_c_l + row + side, -dx_sum[side]);
    }
    MONARCH_UNROLL
    for (int depth = 0; depth < kDepth; ++depth) {
      float d_a_l[4] = {};
      float d_y[4] = {};
      multiply_across(d_a_l, q_[depth], dx_columns);
      multiply_across(d_y, grad_[depth], weight_columns);
      MONARCH_UNROLL
      for (int entry = 0; entry < 4; ++entry) {
        const int d = 16 * depth + entry / 2 * 8 + g_;
        if (d >= args_.head_dim || !stores[entry % 2]) continue;
        const std::int64_t at = (row + entry % 2) * args_.head_dim + d;
        add(all_.d_a_l + at, all_.scale * d_a_l[entry]);
        add(all_.d_y + at, d_y[entry]);
      }
    }
  }
  // result += A^T B for a left operand A.
  MONARCH_DEVICE static void multiply_across(float (&result)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2]) {
    device::multiply<T>(result,
                        {device::transposed(a[0]), device::transposed(a[2]),
                         device::transposed(a[1]), device::transposed(a[3])},
                        b);
  }
  MONARCH_DEVICE void add(float* sum, float value) const {
    *sum = first_row_ == 0 ? value : *sum + value;
  }

  MONARCH_DEVICE void store(const Tile& tile) const {
    const int column = column_token(args_, tile, warp_);
    MONARCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (!counts_[half] || !exists_) continue;
      const int token = column + row_offset(args_, first_row_ + 8 * half + g_);
      float* const to =
          all_.grad_q_part + (std::int64_t{unit_} * args_.q_tokens + token) * args_.head_dim;
      MONARCH_UNROLL
      for (int n = 0; n < kHeadDim / 8; ++n) {
        const int d = 8 * n + 2 * t_;
        if (d >= args_.head_dim) continue;
        to[d] = all_.scale * grad_q_[n][2 * half];
        to[d + 1] = all_.scale * grad_q_[n][2 * half + 1];
      }
    }
  }

  const MonarchBackwardArgs& all_;
  int unit_ = 0;
  bool exists_ = false;
  int first_row_ = 0;     // of i
  std::int64_t row_ = 0;  // of d_a_l and the others: the chunk's first
  std::uint32_t q_[kDepth][4];
  std::uint32_t grad_[kDepth][4];
  float grad_q_[kHeadDim / 8][4];
  float lse_log2_[2];
  float grad_dot_out_[2];
  bool counts_[2];
};

}  // namespace monarch::attention::cuda::sm80
