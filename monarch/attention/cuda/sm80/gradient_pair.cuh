// The first stage of the Monarch backward (formulas: monarch_backward.cuh): one key row with one
// tile of columns at a time, R and dz of both in shared memory. Two kernels take their sums: a
// block of MonarchKeyGradients owns a key row and goes over the columns; a block of
// MonarchQueryGradients owns a tile of columns at one row k and goes over the key blocks f.
#pragma once

#include <cmath>
#include <cstdint>

#include "monarch/attention/cuda/common/device.h"
#include "monarch/attention/cuda/monarch_backward_args.h"
#include "monarch/attention/cuda/sm80/first_stage.cuh"
#include "monarch/attention/cuda/sm80/gradient_tiles.h"
#include "monarch/attention/cuda/sm80/kv_rows.h"
#include "monarch/attention/cuda/sm80/tile.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim>
class GradientPair : protected FirstStage<T, kHeadDim> {
 protected:
  using Base = FirstStage<T, kHeadDim>;
  using Base::args_;
  using Base::g_;
  using Base::kDepth;
  using Base::kPieces;
  using Base::lane_;
  using Base::row_pitch_bytes;
  using Base::t_;
  using Base::thread_;
  using Base::warp_;

  MONARCH_DEVICE explicit GradientPair(const MonarchBackwardArgs& args)
      : Base(args.forward), all_(args) {}

  // Key row `row` of a head, K and V, from token on.
  MONARCH_DEVICE void load_keys(const Tile& tile, int token) const {
    const std::uint16_t* const k = head_of(args_.k, tile) + token * args_.k.token_stride;
    const std::uint16_t* const v = head_of(args_.v, tile) + token * args_.v.token_stride;
    for (int piece = thread_; piece < args_.block_cols * kPieces; piece += kThreads) {
      const int l = piece / kPieces;
      const int d = piece % kPieces * 8;
      const bool valid = d < args_.head_dim;
      const std::uint32_t at = l * row_pitch_bytes() + 2 * d;
      device::copy_async(at, valid ? k + l * args_.k.token_stride + d : k, valid);
      device::copy_async(all_.shared.v + at, valid ? v + l * args_.v.token_stride + d : v, valid);
    }
    device::copy_async_commit();
  }

  // Of a tile's columns: Q at row k, and da_L and dY at the key row, rounded to 16 bits. `offset`:
  // where row k lies, in tokens from a column's first. Zeros for columns beyond the last.
  MONARCH_DEVICE void load_queries(const Tile& tile, int offset) const {
    if (thread_ < kTileCols * kPieces) {
      const int j = thread_ / kPieces;
      const int d = thread_ % kPieces * 8;
      const bool valid = d < args_.head_dim && column_exists(args_, tile, j);
      const std::uint16_t* const q =
          head_of(args_.q, tile) +
          std::int64_t{column_token(args_, tile, j) + offset} * args_.q.token_stride;
      device::copy_async(all_.shared.q + j * row_pitch_bytes() + 2 * d, valid ? q + d : q, valid);
    }
    device::copy_async_commit();
  }
  MONARCH_DEVICE void load_sums(const Tile& tile, int unit, int row) const {
    for (int pair = thread_; pair < kTileCols * kHeadDim / 2; pair += kThreads) {
      const int j = pair / (kHeadDim / 2);
      const int d = pair % (kHeadDim / 2) * 2;
      float d_a_l[2] = {};
      float d_y[2] = {};
      if (d < args_.head_dim && column_exists(args_, tile, j)) {
        const std::int64_t at = index_of(tile, unit, row, j) * args_.head_dim + d;
        for (int side = 0; side < 2; ++side) {
          d_a_l[side] = all_.d_a_l[at + side];
          d_y[side] = all_.d_y[at + side];
        }
      }
      const std::uint32_t to = j * row_pitch_bytes() + 2 * d;
      device::store_shared(all_.shared.d_a_l + to, device::pack<T>(d_a_l[0], d_a_l[1]));
      device::store_shared(all_.shared.d_y + to, device::pack<T>(d_y[0], d_y[1]));
    }
  }
  // Of a column's entry in d_c_l and, times head_dim, in d_a_l and d_y.
  MONARCH_DEVICE std::int64_t index_of(const Tile& tile, int unit, int row, int j) const {
    const int column = tile.group * args_.group_blocks * args_.block_cols + tile.first_col + j;
    return (std::int64_t{unit} * all_.columns + column) * all_.kv_rows + row;
  }

  // weights = R and d_scores = dz of the loaded pair.
  MONARCH_DEVICE void compute(const Tile& tile, int unit, int row) const {
    device::copy_async_wait<0>();
    device::barrier();
    const int col_tiles = (args_.block_cols + 15) / 16;
    const std::uint32_t scores_bytes = 4 * kTileCols * args_.shared.score_pitch;
    for (int task = warp_; task < 4 * col_tiles; task += kWarps) {
      const int half = task % 2;
      const int l = task / 4 * 16;
      const int begin = Base::half_begin(half);
      const int end = Base::half_end(half);
      typename Base::Chains chains;
      if (task / 2 % 2 == 0) {
        this->multiply_rows(0, all_.shared.q, l, begin, end, chains);
        this->store_scores(all_.shared.scores + half * scores_bytes, l, chains);
      } else {
        this->multiply_rows(0, all_.shared.d_a_l, l, begin, end, chains);
        this->multiply_rows(all_.shared.v, all_.shared.d_y, l, begin, end, chains);
        this->store_scores(all_.shared.d_weights + half * scores_bytes, l, chains);
      }
    }
    device::barrier();
    compute_gradients(tile, unit, row);
    device::barrier();
  }

  const MonarchBackwardArgs& all_;

 private:
  // A warp a column: the softmax again, and through it.
  MONARCH_DEVICE void compute_gradients(const Tile& tile, int unit, int row) const {
    const int cols = args_.block_cols;
    const std::uint32_t pitch = 4 * args_.shared.score_pitch;
    const auto sum_of_halves = [&](std::uint32_t scores, int l) {
      const std::uint32_t at = scores + warp_ * pitch + 4 * l;
      return device::load_shared<float>(at) + device::load_shared<float>(at + kTileCols * pitch);
    };
    const auto exponent = [&](int l) {
      return args_.scale_log2 * sum_of_halves(all_.shared.scores, l);
    };
    float max = -INFINITY;
    for (int l = lane_; l < cols; l += kWarpSize) max = fmaxf(max, exponent(l));
    MONARCH_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) max = fmaxf(max, device::shuffle_xor(max, mask));
    float sum = 0;
    for (int l = lane_; l < cols; l += kWarpSize) sum += device::exp2(exponent(l) - max);
    MONARCH_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) sum += device::shuffle_xor(sum, mask);

    const float inverse = 1.0F / sum;
    const float log_sum = device::log2(sum);
    const float d_c_l =
        column_exists(args_, tile, warp_) ? all_.d_c_l[index_of(tile, unit, row, warp_)] : 0.0F;
    const auto gradient = [&](int l, float x) {  // u_l
      return sum_of_halves(all_.shared.d_weights, l) + d_c_l * kLn2 * (x - log_sum);
    };
    float mean = 0;
    for (int l = lane_; l < cols; l += kWarpSize) {
      const float x = exponent(l) - max;
      mean += device::exp2(x) * inverse * gradient(l, x);
    }
    MONARCH_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) mean += device::shuffle_xor(mean, mask);

    for (int first = 2 * lane_; first < round_up(cols, 16); first += 2 * kWarpSize) {
      float r[2] = {};
      float dz[2] = {};
      for (int side = 0; side < 2; ++side) {
        if (first + side >= cols) continue;
        const float x = exponent(first + side) - max;
        r[side] = device::exp2(x) * inverse;
        dz[side] = all_.scale * r[side] * (gradient(first + side, x) - mean);
      }
      const std::uint32_t to = 2 * (warp_ * args_.shared.weight_pitch + first);
      device::store_shared(all_.shared.weights + to, device::pack<T>(r[0], r[1]));
      device::store_shared(all_.shared.d_scores + to, device::pack<T>(dz[0], dz[1]));
    }
  }
};

// dK and dV of 64 columns of one key row: all query columns that see it. Warp w holds columns of D
// 8 w .. and 8 (w + 8) .. of both.
template <typename T, int kHeadDim>
class MonarchKeyGradients : GradientPair<T, kHeadDim> {
  using Base = GradientPair<T, kHeadDim>;
  using Base::all_;
  using Base::args_;
  using Base::g_;
  using Base::lane_;
  using Base::t_;
  using Base::warp_;
  static constexpr int kColTiles = kGradientCols / 16;

 public:
  MONARCH_DEVICE explicit MonarchKeyGradients(const MonarchBackwardArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    int rest = device::block_index();
    first_col_ = rest % all_.col_parts * kGradientCols;
    rest /= all_.col_parts;
    const int row = rest % all_.kv_rows;
    const int unit = rest / all_.kv_rows;
    Tile tile;
    tile.head = (all_.first_unit + unit) % args_.num_heads;
    tile.batch = (all_.first_unit + unit) / args_.num_heads;
    const KvRow key = kv_row(args_, row);
    this->load_keys(tile, key.token);
    for (tile.group = row / args_.block_rows / args_.group_kv_blocks; tile.group < args_.num_groups;
         ++tile.group) {
      for (int n = 0; n < args_.column_tiles; ++n) {
        tile.first_col = n * kTileCols;
        this->load_queries(tile, key.offset_in_block(args_));
        this->load_sums(tile, unit, row);
        this->compute(tile, unit, row);
        accumulate();
        device::barrier();
      }
    }
    device::copy_async_wait<0>();  // a row that nobody sees
    store(tile, key.token);
  }

 private:
  MONARCH_DEVICE void accumulate() {
    // Right operands: rows of the eight columns, D along; of this warp's two pieces of D.
    const int matrix = lane_ / 8;
    const int second = warp_ + kWarps < kHeadDim / 8 ? warp_ + kWarps : warp_;
    const std::uint32_t right =
        lane_ % 8 * Base::row_pitch_bytes() + 16 * (matrix % 2 == 0 ? warp_ : second);
    std::uint32_t q[4];
    std::uint32_t d[4];  // da_L, da_L, dY, dY
    device::load_matrices_transposed(q, all_.shared.q + right);
    device::load_matrices_transposed(d, (matrix < 2 ? all_.shared.d_a_l : all_.shared.d_y) + right);
    // Left operands: R and dz of 16 rows l, the eight columns along.
    const std::uint32_t left = (matrix < 2 ? all_.shared.weights : all_.shared.d_scores) +
                               2 * (lane_ % 8 * args_.shared.weight_pitch + matrix % 2 * 8);
    MONARCH_UNROLL
    for (int n = 0; n < kColTiles; ++n) {
      const int l = first_col_ + 16 * n;
      if (l >= args_.block_cols) break;
      std::uint32_t w[4];
      device::load_matrices_transposed(w, left + 2 * l);
      MONARCH_UNROLL
      for (int piece = 0; piece < 2; ++piece) {
        device::multiply<T>(grad_k_[n][piece], {w[2], w[3]}, q[piece]);
        device::multiply<T>(grad_k_[n][piece], {w[0], w[1]}, d[piece]);
        device::multiply<T>(grad_v_[n][piece], {w[0], w[1]}, d[2 + piece]);
      }
    }
  }

  MONARCH_DEVICE void store(const Tile& tile, int token) const {
    MONARCH_UNROLL
    for (int n = 0; n < kColTiles; ++n) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int l = first_col_ + 16 * n + 8 * half + g_;
        if (l >= args_.block_cols) continue;
        MONARCH_UNROLL
        for (int piece = 0; piece < 2; ++piece) {
          const int d = 8 * (warp_ + piece * kWarps) + 2 * t_;
          if (d >= args_.head_dim) continue;
          const float* const k = &grad_k_[n][piece][2 * half];
          const float* const v = &grad_v_[n][piece][2 * half];
          std::uint16_t* const to_k =
              head_of(all_.grad_k, tile) + std::int64_t{token + l} * all_.grad_k.token_stride + d;
          std::uint16_t* const to_v =
              head_of(all_.grad_v, tile) + std::int64_t{token + l} * all_.grad_v.token_stride + d;
          *reinterpret_cast<std::uint32_t*>(to_k) = device::pack<T>(k[0], k[1]);
          *reinterpret_cast<std::uint32_t*>(to_v) = device::pack<T>(v[0], v[1]);
        }
      }
    }
  }

  int first_col_ = 0;
  float grad_k_[kColTiles][2][4] = {};
  float grad_v_[kColTiles][2][4] = {};
};

// dQ of a tile of columns at one row k: what comes through the first softmax of all key blocks,
// added to what monarch_backward.cuh left.
template <typename T, int kHeadDim>
class MonarchQueryGradients : GradientPair<T, kHeadDim> {
  using Base = GradientPair<T, kHeadDim>;
  using Base::all_;
  using Base::args_;
  using Base::g_;
  using Base::kDepth;
  using Base::t_;
  using Base::warp_;

 public:
  MONARCH_DEVICE explicit MonarchQueryGradients(const MonarchBackwardArgs& args) : Base(args) {}

  MONARCH_DEVICE void run() {
    const int k = device::block_index() % args_.block_rows;
    const int tile_index = device::block_index() / args_.block_rows;
    const int tiles = args_.column_tiles * args_.num_groups;
    const int unit = tile_index / tiles;
    const Tile tile = locate_tile(args_, tile_index + all_.first_unit * tiles, args_.block_rows);
    const int offset = row_offset(args_, k);
    float sum[4] = {};
    const int blocks = (tile.group + 1) * args_.group_kv_blocks;
    this->load_queries(tile, offset);
    for (int f = 0; f < blocks; ++f) {
      const int row = f * args_.block_rows + k;
      this->load_keys(tile, kv_row(args_, row).token);
      this->load_sums(tile, unit, row);
      this->compute(tile, unit, row);
      if (warp_ < kDepth) this->add_weighted(32 * warp_, all_.shared.d_scores, sum);
      device::barrier();
    }
    MONARCH_UNROLL
    for (int entry = 0; entry < 4; ++entry) {
      const int j = 2 * t_ + entry % 2;
      const int d = 16 * warp_ + 8 * (entry / 2) + g_;
      if (d >= args_.head_dim || !column_exists(args_, tile, j)) continue;
      const std::int64_t token = column_token(args_, tile, j) + offset;
      const float part =
          all_.grad_q_part[(std::int64_t{unit} * args_.q_tokens + token) * args_.head_dim + d];
      head_of(all_.grad_q, tile)[token * all_.grad_q.token_stride + d] =
          static_cast<std::uint16_t>(device::pack<T>(part + sum[entry], 0));
    }
  }
};

}  // namespace monarch::attention::cuda::sm80
