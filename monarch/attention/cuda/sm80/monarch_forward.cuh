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
#include "monarch/attention/cuda/sm80/kv_rows.h"
#include "monarch/attention/cuda/sm80/tiles.h"

namespace monarch::attention::cuda::sm80 {

template <typename T, int kHeadDim, int kRowFragments>
class MonarchForwardBlock {
  static constexpr int kDepth = kHeadDim / 16;  // multiplications along D
  static constexpr int kPieces = kHeadDim / 8;  // 16-byte pieces of a row
  static constexpr int kTileRows = 16 * kRowFragments;

 public:
  MONARCH_DEVICE explicit MonarchForwardBlock(const MonarchForwardArgs& args)
      : args_(args),
        thread_(device::thread_index()),
        lane_(thread_ % kWarpSize),
        warp_(thread_ / kWarpSize),
        g_(lane_ / 4),
        t_(lane_ % 4) {}

  MONARCH_DEVICE void run() {
    {
      const Tile where = tile();
      locate_keys(where);
      load_queries(where);
    }
    for (int piece = 0; piece < args_.stages - 1; ++piece) issue_next();
    for (; rows_left_ > 0; rows_left_ -= kChunkRows) {
      for (int chunk_row = 0; chunk_row < kChunkRows; chunk_row += args_.step_rows) {
        const std::uint32_t k_slot = next_piece();
        compute_scores(k_slot);
        device::barrier();
        compute_weights(chunk_row);
        device::barrier();
        compute_means(k_slot, args_.shared.a_l, chunk_row);
        compute_means(next_piece(), args_.shared.y, chunk_row);
      }
      device::barrier();
      fold_chunk();
    }
    store(tile());
  }

 private:
  // What this thread block computes. Found again for the end, not kept: registers are short.
  struct Tile {
    int first_row = 0;  // of i
    int first_col = 0;  // of (a, j) in the group
    int split = 0;
    int group = 0;
    int head = 0;
    int batch = 0;
  };
  MONARCH_DEVICE Tile tile() const {
    int rest = device::block_index();
    const auto take = [&rest](int count) {
      const int index = rest % count;
      rest /= count;
      return index;
    };
    Tile tile;
    tile.first_row = take(args_.row_tiles) * kTileRows;
    tile.first_col = take(args_.column_tiles) * kTileCols;
    tile.split = take(args_.num_splits);
    tile.group = take(args_.num_groups);
    tile.head = take(args_.num_heads);
    tile.batch = rest;
    return tile;
  }

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
  }

  // First token of column `index` of the tile; beyond the last column, the last.
  MONARCH_DEVICE int column_token(const Tile& tile, int index) const {
    const int last = args_.group_blocks * args_.block_cols - 1;
    const int column = tile.first_col + index < last ? tile.first_col + index : last;
    return first_token(args_, tile.group * args_.group_blocks + column / args_.block_cols) +
           column % args_.block_cols;
  }
  // Where row i of a column lies, in tokens from its first.
  MONARCH_DEVICE int row_offset(int i) const {
    const int band_rows = args_.height / args_.h_reduce;
    return (i / band_rows * args_.height + i % band_rows) * args_.width;
  }

  template <typename Element>
  MONARCH_DEVICE Element* head_of(const Operand<Element>& operand, const Tile& tile) const {
    return operand.data + tile.batch * operand.batch_stride + tile.head * operand.head_stride;
  }

  // Q of this warp's column as the left operand of S2, kept.
  MONARCH_DEVICE void load_queries(const Tile& tile) {
    const std::uint16_t* const q = head_of(args_.q, tile);
    const int column = column_token(tile, warp_);
    MONARCH_UNROLL
    for (int fragment = 0; fragment < kRowFragments; ++fragment) {
      MONARCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = tile.first_row + 16 * fragment + 8 * half + g_;
        const std::uint16_t* const row =
            q + std::int64_t{column + row_offset(i < args_.block_rows ? i : args_.block_rows - 1)} *
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
    // For the first stage: where the piece of Q that this thread copies lies.
    q_piece_ =
        q + column_token(tile, thread_ / kPieces) * args_.q.token_stride + thread_ % kPieces * 8;
  }

  // Copies `rows` rows of a matrix [rows, D].
  MONARCH_DEVICE void copy_rows(const std::uint16_t* source, std::int64_t stride,
                                std::uint32_t offset) {
    for (int piece = thread_; piece < args_.block_cols * kPieces; piece += kThreads) {
      const int row = piece / kPieces;
      const int d = piece % kPieces * 8;
      const bool valid = d < args_.head_dim;
      device::copy_async(offset + row * args_.shared.row_pitch + 2 * d,
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
    device::copy_async(offset + thread_ / kPieces * args_.shared.row_pitch + 2 * d,
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
        if (!values) copy_query_row(row, to + args_.block_cols * args_.shared.row_pitch);
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

  MONARCH_DEVICE int last_col() const { return args_.block_cols - 1; }
  MONARCH_DEVICE int clamp_col(int l) const { return l < last_col() ? l : last_col(); }

  // scores[r, half, j, l] = K[l] . Q[j] over one half of D.
  MONARCH_DEVICE void compute_scores(std::uint32_t slot) {
    constexpr int kPairs = kDepth / 2;
    constexpr int kFirstPairs = (kPairs + 1) / 2;
    const int col_tiles = (args_.block_cols + 15) / 16;
    const int tasks = args_.step_rows * col_tiles * 2;
    const int matrix = lane_ / 8;
    for (int task = warp_; task < tasks; task += kWarps) {
      const int half = task % 2;
      const int r = task / 2 / col_tiles;
      const int l = task / 2 % col_tiles * 16;
      const std::uint32_t rows = slot + r * args_.shared.slot_row_bytes;
      const std::uint32_t k_address =
          rows + clamp_col(l + lane_ % 8 + matrix % 2 * 8) * args_.shared.row_pitch +
          matrix / 2 * 16;
      const std::uint32_t q_address =
          rows + (args_.block_cols + lane_ % 8) * args_.shared.row_pitch + matrix * 16;
      float even[4] = {};
      float odd[4] = {};  // two chains of multiplications hide each other's latency
      const int end = half == 0 ? kFirstPairs : kPairs;
      for (int pair = half == 0 ? 0 : kFirstPairs; pair < end; ++pair) {
        std::uint32_t q[4];
        std::uint32_t k[4];
        device::load_matrices(q, q_address + 64 * pair);
        device::load_matrices(k, k_address + 64 * pair);
        device::multiply<T>(even, k, {q[0], q[1]});
        device::load_matrices(k, k_address + 64 * pair + 32);
        device::multiply<T>(odd, k, {q[2], q[3]});
      }
      MONARCH_UNROLL
      for (int entry = 0; entry < 4; ++entry) {
        const int j = 2 * t_ + entry % 2;
        const int row =
            ((r * 2 + half) * kTileCols + j) * static_cast<int>(args_.shared.score_pitch);
        device::store_shared(args_.shared.scores + 4 * (row + l + g_ + entry / 2 * 8),
                             even[entry] + odd[entry]);
      }
    }
  }

  // e, 1 / sum e and c_L of each column; 16 threads a column, two neighbours each at a time.
  MONARCH_DEVICE void compute_weights(int chunk_row) {
    const int task = thread_ / 16;
    const int j = task % kTileCols;
    const bool active = task / kTileCols < args_.step_rows;
    const int r = active ? task / kTileCols : 0;  // the others go along for the shuffles
    const int first = thread_ % 16 * 2;
    const std::uint32_t pitch = 4 * args_.shared.score_pitch;
    const std::uint32_t low = args_.shared.scores + (r * 2 * kTileCols + j) * pitch;
    const std::uint32_t high = low + kTileCols * pitch;
    const auto score = [&](int l) {
      const std::uint32_t at = 4 * static_cast<std::uint32_t>(l);
      return args_.scale_log2 *
             (device::load_shared<float>(low + at) + device::load_shared<float>(high + at));
    };
    const int cols = args_.block_cols;
    float max = -INFINITY;
    for (int l = first; l < cols; l += 32) {
      max = fmaxf(max, score(l));
      if (l + 1 < cols) max = fmaxf(max, score(l + 1));
    }
    MONARCH_UNROLL
    for (int mask = 8; mask > 0; mask /= 2) max = fmaxf(max, device::shuffle_xor(max, mask));

    float sum = 0;          // of the exact weights
    float entropy_sum = 0;  // of weight times exponent
    float rounded_sum = 0;
    for (int l = first; l < round_up(cols, 16); l += 32) {
      float e[2] = {0, 0};
      MONARCH_UNROLL
      for (int side = 0; side < 2; ++side) {
        if (l + side >= cols) continue;
        const float x = score(l + side) - max;
        e[side] = device::exp2(x);
        sum += e[side];
        if (e[side] != 0) entropy_sum += e[side] * x;  // 0 for weights that vanish
      }
      const std::uint32_t word = device::pack<T>(e[0], e[1]);
      device::unpack<T>(word, e);
      rounded_sum += e[0] + e[1];
      if (active) {
        device::store_shared(
            args_.shared.weights + 2 * ((r * kTileCols + j) * args_.shared.weight_pitch + l), word);
      }
    }
    MONARCH_UNROLL
    for (int mask = 8; mask > 0; mask /= 2) {
      sum += device::shuffle_xor(sum, mask);
      entropy_sum += device::shuffle_xor(entropy_sum, mask);
      rounded_sum += device::shuffle_xor(rounded_sum, mask);
    }
    if (active && first == 0) {
      device::store_shared(args_.shared.inverse + 4 * (r * kTileCols + j), 1.0F / rounded_sum);
      device::store_shared(args_.shared.c_l + 4 * (j * kChunkRows + chunk_row + r),
                           entropy_sum / sum - device::log2(sum));
    }
  }

  // to[j, chunk_row + r, :] = sum_l e[j, l] X[l, :] / sum_l e[j, l], X = K or V of each row.
  MONARCH_DEVICE void compute_means(std::uint32_t slot, std::uint32_t to, int chunk_row) {
    const int matrix = lane_ / 8;
    for (int task = warp_; task < args_.step_rows * kDepth; task += kWarps) {
      const int r = task / kDepth;
      const int d = task % kDepth * 16;
      const std::uint32_t rows = slot + r * args_.shared.slot_row_bytes + 2 * d + matrix % 2 * 16;
      const std::uint32_t weights =
          args_.shared.weights + 2 * ((r * kTileCols + g_) * args_.shared.weight_pitch + 2 * t_);
      float sum[4] = {};
      for (int l = 0; l < args_.block_cols; l += 16) {
        std::uint32_t x[4];
        device::load_matrices_transposed(
            x, rows + clamp_col(l + lane_ % 8 + matrix / 2 * 8) * args_.shared.row_pitch);
        const auto e = device::load_shared<std::uint32_t>(weights + 2 * l);
        if (l + 8 < args_.block_cols) {
          device::multiply<T>(sum, x,
                              {e, device::load_shared<std::uint32_t>(weights + 2 * l + 16)});
        } else {
          device::multiply<T>(sum, {x[0], x[1]}, e);
        }
      }
      const std::uint32_t inverse = args_.shared.inverse + 4 * (r * kTileCols + 2 * t_);
      const float first = device::load_shared<float>(inverse);
      const float second = device::load_shared<float>(inverse + 4);
      const std::uint32_t row = to + g_ * args_.shared.column_pitch +
                                (chunk_row + r) * args_.shared.row_pitch + 2 * d + 4 * t_;
      device::store_shared(row,
                           device::transposed(device::pack<T>(sum[0] * first, sum[1] * second)));
      device::store_shared(row + 16,
                           device::transposed(device::pack<T>(sum[2] * first, sum[3] * second)));
    }
  }

  // One chunk of key rows into the running softmax of this warp's column.
  MONARCH_DEVICE void fold_chunk() {
    const std::uint32_t column =
        warp_ * args_.shared.column_pitch + lane_ % 8 * args_.shared.row_pitch + lane_ / 8 * 16;
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
    const float c_even = device::load_shared<float>(c_l);
    const float c_odd = device::load_shared<float>(c_l + 4);
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
    const bool column_exists = tile.first_col + warp_ < args_.group_blocks * args_.block_cols;
    const int column = column_token(tile, warp_);
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
        if (i >= args_.block_rows || !column_exists) continue;
        const int token = column + row_offset(i);
        const float inverse = 1.0F / sum;
        const float lse_log2 = max_[fragment][half] + device::log2(sum);
        if (t_ == 0) {
          if (partial) {
            args_.partial_lse[split_unit * args_.q_tokens + token] = lse_log2;
          } else if (args_.lse != nullptr) {
            constexpr float kLn2 = 0.693147180559945F;
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

  const MonarchForwardArgs& args_;
  const int thread_;
  const int lane_;
  const int warp_;
  const int g_;  // lane = 4 g + t
  const int t_;

  // The copies: where they are, and how much is left of them.
  const std::uint16_t* q_piece_ = nullptr;  // Q that this thread copies for the first stage, at k 0
  const std::uint16_t* k_ = nullptr;
  const std::uint16_t* v_ = nullptr;
  KvRow cursor_;
  int rows_to_load_ = 0;
  int pieces_to_load_ = 0;
  std::uint32_t issue_slot_ = 0;

  std::uint32_t use_slot_ = 0;
  int rows_left_ = 0;  // to compute

  std::uint32_t q_[kRowFragments][kDepth][4];
  float out_[kRowFragments][kHeadDim / 8][4] = {};
  float max_[kRowFragments][2];
  float sum_[kRowFragments][2] = {};
};

// The splits' outputs weighted by their share of the softmax; one warp a query.
template <typename T>
MONARCH_DEVICE void merge_splits(const MonarchForwardArgs& args) {
  const int lane = device::thread_index() % kWarpSize;
  const std::int64_t units = std::int64_t{args.batch} * args.num_heads;
  const std::int64_t row =
      std::int64_t{device::block_index()} * kWarps + device::thread_index() / kWarpSize;
  if (row >= units * args.q_tokens) return;
  const std::int64_t stride = units * args.q_tokens;
  float max = -INFINITY;
  for (int split = 0; split < args.num_splits; ++split) {
    max = fmaxf(max, args.partial_lse[split * stride + row]);
  }
  float sum = 0;
  for (int split = 0; split < args.num_splits; ++split) {
    sum += device::exp2(args.partial_lse[split * stride + row] - max);
  }
  const std::int64_t unit = row / args.q_tokens;
  const std::int64_t token = row % args.q_tokens;
  if (lane == 0 && args.lse != nullptr) {
    constexpr float kLn2 = 0.693147180559945F;
    args.lse[row] = kLn2 * (max + device::log2(sum));
  }
  std::uint16_t* const out = args.out.data + unit / args.num_heads * args.out.batch_stride +
                             unit % args.num_heads * args.out.head_stride +
                             token * args.out.token_stride;
  for (int d = 2 * lane; d < args.head_dim; d += 2 * kWarpSize) {
    float first = 0;
    float second = 0;
    for (int split = 0; split < args.num_splits; ++split) {
      const float share = device::exp2(args.partial_lse[split * stride + row] - max) / sum;
      const float* const from = args.partial_out + (split * stride + row) * args.head_dim + d;
      first += share * from[0];
      second += share * from[1];
    }
    *reinterpret_cast<std::uint32_t*>(out + d) = device::pack<T>(first, second);
  }
}

}  // namespace monarch::attention::cuda::sm80
