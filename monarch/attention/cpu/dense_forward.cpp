// Dense attention, forward: softmax over visible keys, flash style.
//   O[t] = Σ_u softmax_u( s Q[t]·K[u] ) V[u]          lse[t] = log Σ_u e^(s Q[t]·K[u])
// A task is a tile of queries of one head; tiles do not straddle causal blocks, so the keys a tile
// sees are one run. Cost: 4 Nq Nkv D operations. arXiv 2205.14135.
#if defined(MONARCH_BF16_KERNELS)
#include "monarch/attention/cpu/bf16_flash.h"
#else
#include "monarch/attention/cpu/flash.h"
#endif

namespace monarch::attention::cpu::MONARCH_ISA {

std::size_t dense_forward_workspace(const DenseForwardArgs& args) {
  return FlashScratch(args.head_dim, nullptr).size;
}

std::int64_t dense_query_tile() { return kQueryTile; }

void dense_forward(const DenseForwardArgs& args, std::int64_t index, float* workspace) {
  const FlashScratch scratch(args.head_dim, workspace);
  const std::int64_t tile = index % args.tiles_per_group;
  index /= args.tiles_per_group;
  const std::int64_t group = index % args.num_groups;
  index /= args.num_groups;
  const std::int64_t head = index % args.num_heads;
  const std::int64_t batch = index / args.num_heads;

  const std::int64_t group_tokens = args.q_tokens / args.num_groups;
  const std::int64_t first = group * group_tokens + tile * group_tokens / args.tiles_per_group;
  const std::int64_t last = group * group_tokens + (tile + 1) * group_tokens / args.tiles_per_group;
  const std::int64_t visible = args.num_groups == 1 ? args.kv_tokens : (group + 1) * group_tokens;
  const std::int64_t queries = last - first;
  const std::int64_t width = packed_width(args.head_dim);
  const auto base = [&](const auto& operand) {
    return batch * operand.batch_stride + head * operand.head_stride;
  };

  for (std::int64_t t = 0; t < queries; ++t) {
    load_row(args.q.data, args.q.dtype, base(args.q) + (first + t) * args.q.token_stride,
             args.head_dim, width, 1.0F, scratch.rows + t * width);
  }
  const FlashWork work{.scale = args.scale_log2, .values = true};
  flash_begin(scratch, work, args.head_dim, queries);
  flash_keys(scratch, work, args.head_dim, queries, args.k, base(args.k), args.v, base(args.v), 0,
             visible, [](std::int64_t u) MONARCH_LAMBDA_INLINE { return u; });
  for (std::int64_t t = 0; t < queries; ++t) {
    store_row(scratch.out_v + t * width, 1.0F / scratch.row_sum[t], args.out.data, args.out.dtype,
              base(args.out) + (first + t) * args.out.token_stride, args.head_dim);
  }
  if (args.lse == nullptr) return;
  for_each_vector(
      padded_columns(static_cast<int>(queries)), [&](std::int64_t t) MONARCH_LAMBDA_INLINE {
        store<kLanes>(scratch.row_max + t, (load<kLanes>(scratch.row_max + t) +
                                            log2<kLanes>(load<kLanes>(scratch.row_sum + t))) *
                                               kLn2);
      });
  float* lse = args.lse + (batch * args.num_heads + head) * args.lse_stride + first;
  for (std::int64_t t = 0; t < queries; ++t) lse[t] = scratch.row_max[t];
}

}  // namespace monarch::attention::cpu::MONARCH_ISA
