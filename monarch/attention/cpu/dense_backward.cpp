// Dense attention, backward, flash style: scores are recomputed, their normaliser is the forward's.
//   P[t,u] = e^(s Q[t]·K[u] - lse[t])       dS = P (G[t]·V[u] - G[t]·O[t])
//   dQ[t] = s Σ_u dS K[u]        dK[u] = s Σ_t dS Q[t]        dV[u] = Σ_t P G[t]
// Queries and keys are cut into as many groups each. In step n a task takes the queries of group a
// and the keys of group a + n (modulo their number), so no two tasks of a step add to the same
// rows, and every row is added to in an order that no number of threads changes. Cost: 10 Nq Nkv D
// operations, 2.5 times the forward. arXiv 2205.14135.
#include "monarch/attention/cpu/flash_backward.h"

namespace monarch::attention::cpu::MONARCH_ISA {
namespace {

// One tile of queries: tokens first .. first + count - 1 and the keys they see.
struct Tile {
  std::int64_t first;
  std::int64_t count;
  std::int64_t visible;

  Tile(const DenseBackwardArgs& args, std::int64_t index) {
    const std::int64_t group = index / args.tiles_per_group;
    const std::int64_t tile = index % args.tiles_per_group;
    const std::int64_t tokens = args.q_tokens / args.num_groups;
    first = group * tokens + tile * args.query_tile;
    const std::int64_t last = (tile + 1) * args.query_tile;
    count = (last < tokens ? last : tokens) - tile * args.query_tile;
    visible = args.num_groups == 1 ? args.kv_tokens : (group + 1) * tokens;
  }
};

struct Head {
  std::int64_t batch;
  std::int64_t head;
  template <typename T>
  MONARCH_INLINE std::int64_t offset(const BasicOperand<T>& operand) const {
    return batch * operand.batch_stride + head * operand.head_stride;
  }
};

void load_queries(const DenseBackwardArgs& args, const Head& head, const Tile& tile,
                  const GradientScratch& scratch) {
  constexpr float kLog2E = 1.44269504F;
  const std::int64_t width = packed_width(args.head_dim);
  const float* lse = args.lse + (head.batch * args.num_heads + head.head) * args.lse_stride;
  const auto load = [&](const Operand& operand, std::int64_t token, float scale, float* row) {
    load_row(operand.data, operand.dtype, head.offset(operand) + token * operand.token_stride,
             args.head_dim, width, scale, row);
  };
  for (std::int64_t t = 0; t < tile.count; ++t) {
    const std::int64_t token = tile.first + t;
    float* g = scratch.g_v + t * width;
    float* out = scratch.dq + t * width;  // O for the moment
    load(args.q, token, args.scale_log2, scratch.q + t * width);
    load(args.grad_out, token, 1.0F, g);
    load(args.out, token, 1.0F, out);
    scratch.delta[t] = dot(g, out, width);
    scratch.lse[t] = lse[token] * kLog2E;
  }
  for (std::int64_t at = 0; at < tile.count * width; ++at) scratch.dq[at] = 0.0F;
}

}  // namespace

std::int64_t gradient_query_tile() { return kGradientQueryTile; }

std::size_t dense_backward_workspace(const DenseBackwardArgs& args) {
  return GradientScratch(args.head_dim, nullptr).size;
}

void dense_backward(const DenseBackwardArgs& args, std::int64_t index, float* workspace) {
  const GradientScratch scratch(args.head_dim, workspace);
  const GradientWork work{.values = true};
  const std::int64_t width = packed_width(args.head_dim);
  const std::int64_t queries = index % args.grid;
  const std::int64_t keys = (queries + args.step) % args.grid;
  const std::int64_t unit = index / args.grid;
  const std::int64_t which = args.first_head + unit;
  const Head head{which / args.num_heads, which % args.num_heads};
  float* dq = args.dq + unit * args.unit_stride;
  float* dk = args.dk + unit * args.unit_stride;
  float* dv = args.dv + unit * args.unit_stride;

  const std::int64_t tiles = args.num_groups * args.tiles_per_group;
  const std::int64_t begin = args.kv_tokens * keys / args.grid;
  const std::int64_t end = args.kv_tokens * (keys + 1) / args.grid;
  for (std::int64_t at = tiles * queries / args.grid; at < tiles * (queries + 1) / args.grid;
       ++at) {
    const Tile tile(args, at);
    const std::int64_t last = end < tile.visible ? end : tile.visible;
    if (begin >= last) continue;
    load_queries(args, head, tile, scratch);
    gradient_begin(scratch, work, args.head_dim, tile.count);
    const std::int64_t pieces = (last - begin + kGradientKeyTile - 1) / kGradientKeyTile;
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t first = begin + piece * (last - begin) / pieces;
      const std::int64_t count = begin + (piece + 1) * (last - begin) / pieces - first;
      for (std::int64_t u = 0; u < count; ++u) {
        const std::int64_t token = args.k_tokens == nullptr ? first + u : args.k_tokens[first + u];
        load_row(args.k.data, args.k.dtype, head.offset(args.k) + token * args.k.token_stride,
                 args.head_dim, width, 1.0F, scratch.k + u * width);
        load_row(args.v.data, args.v.dtype, head.offset(args.v) + token * args.v.token_stride,
                 args.head_dim, width, 1.0F, scratch.v + u * width);
      }
      gradient_keys(scratch, work, args.head_dim, tile.count, 0, count, nullptr, dk + first * width,
                    dv + first * width);
      gradient_queries(scratch, args.head_dim, tile.count, count);
    }
    for (std::int64_t t = 0; t < tile.count; ++t) {
      const std::int64_t token = tile.first + t;
      add_row(scratch.dq + t * width, width,
              dq + (args.dq_rows == nullptr ? token : args.dq_rows[token]) * width);
    }
  }
}

void store_rows(const StoreRowsArgs& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t token = args.tokens == nullptr ? row : args.tokens[row];
    store_row(args.rows + row * packed_width(args.head_dim), args.scale, args.to.data,
              args.to.dtype, args.offset + token * args.to.token_stride, args.head_dim);
  }
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
