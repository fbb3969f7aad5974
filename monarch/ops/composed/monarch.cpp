// Monarch attention, any number of iterations.            s = softmax scale
//   Q [B,A,I,J,H,D]   K,V [B,F,I,J,H,D]   tokens (a,i,j) and (f,k,l); i,k < I, l,j < J
//   aR[a,f,k,j] = Q[a,k,j], cR = 1 at the start
//   R [a,f,k,j,l] = softmax_l( g s aR·K[f,k,l] ),  g = 1 for one iteration, else 1/(cR + 1e-6)
//   aL[a,f,k,j] = Σ_l R K[f,k,l]      cL = Σ_l R log R      Y = Σ_l R V[f,k,l]
//   L [a,j,i,(k,f)] = softmax_kf( s Q[a,i,j]·aL - cL )
//   aR = Σ_i L Q[a,i,j], cR = Σ_i L for the next iteration; out[a,i,j] = Σ_kf L Y at the end
//
// Layouts are chosen so that every product is one batched matrix product and a chunk of one head
// needs no copy between the two halves. n = batch*heads of a chunk:
//   z, R [n*I*F, J(l), A*J(j)]     aL|Y [n*I*F, A*J, 2D]     L [n*A*J, I(i), I*F (k,f)]
#include "monarch/ops/composed/attention.h"
#include "monarch/ops/composed/row_softmax.h"

namespace monarch::ops::composed {
namespace {

constexpr double kCrEpsilon = 1e-6;
constexpr double kMaxTemperature = 1e4;

// Floats of workspace of a chunk when no gradient is needed. On the CPU a chunk should stay near
// the last cache level; a GPU wants large launches.
int64_t workspace_floats(const at::Device& device) {
  return device.is_cpu() ? int64_t{4} << 20 : int64_t{256} << 20;
}

// Operands of one chunk, in the compute type.
struct Chunk {
  int64_t n, tiles_q, tiles_kv, rows, cols, head_dim;
  at::Tensor q_rows;  // [n*I, A*J, D]
  at::Tensor q_cols;  // [n*A*J, I, D]
  at::Tensor kv;      // [n*I*F, J, 2D], keys first
};

// alpha * a b^T-style product without a separate scaling pass.
at::Tensor scaled_bmm(const at::Tensor& a, const at::Tensor& b, double alpha) {
  return at::baddbmm(at::zeros({1, 1, 1}, a.options().requires_grad(false)), a, b, /*beta=*/0,
                     alpha);
}

// [n*I*F, A*J, X] -> [n*A*J, I*F, X]: a view when n is 1, else a copy.
at::Tensor to_columns(const at::Tensor& t, const Chunk& c) {
  return t.view({c.n, c.rows * c.tiles_kv, c.tiles_q * c.cols, -1})
      .transpose(1, 2)
      .reshape({c.n * c.tiles_q * c.cols, c.rows * c.tiles_kv, -1});
}

// The other way.
at::Tensor to_rows(const at::Tensor& t, const Chunk& c) {
  return t.view({c.n, c.tiles_q * c.cols, c.rows * c.tiles_kv, -1})
      .transpose(1, 2)
      .reshape({c.n * c.rows * c.tiles_kv, c.tiles_q * c.cols, -1});
}

// Scores of the R half before the first L is known: aR = Q, the same for every key tile.
at::Tensor first_scores(const Chunk& c, const at::Tensor& keys, double alpha) {
  return scaled_bmm(keys.view({c.n * c.rows, c.tiles_kv * c.cols, c.head_dim}),
                    c.q_rows.transpose(1, 2), alpha)
      .view({c.n * c.rows * c.tiles_kv, c.cols, c.tiles_q * c.cols});
}

// [n*A*J, I, D]
at::Tensor attend_chunk(const Chunk& c, int64_t num_iters, double scale) {
  const at::Tensor keys = c.kv.narrow(2, 0, c.head_dim);
  const double first_g = num_iters == 1 ? 1.0 : std::min(1.0 / (1.0 + kCrEpsilon), kMaxTemperature);
  at::Tensor z = first_scores(c, keys, scale * first_g);
  for (int64_t iteration = 1;; ++iteration) {
    const bool last = iteration == num_iters;
    const auto [r, c_l] = row_softmax(z);
    const at::Tensor averages =  // aL, and Y in the last iteration
        to_columns(at::bmm(r.transpose(1, 2), last ? c.kv : keys), c);
    const std::vector<at::Tensor> parts = averages.split(c.head_dim, 2);
    const at::Tensor entropies =  // cL as [n*A*J, 1, I*F]
        to_columns(c_l.unsqueeze(2), c).transpose(1, 2);
    const at::Tensor l = at::softmax(
        at::baddbmm(entropies, c.q_cols, parts[0].transpose(1, 2), /*beta=*/-1, scale), 2);
    if (last) return at::bmm(l, parts[1]);
    const at::Tensor a_r = to_rows(at::bmm(l.transpose(1, 2), c.q_cols), c);
    const at::Tensor c_r = to_rows(l.sum(1).unsqueeze(2), c).transpose(1, 2);
    const at::Tensor g = (c_r + kCrEpsilon).reciprocal().clamp_max(kMaxTemperature);
    z = scaled_bmm(keys, a_r.transpose(1, 2), scale) * g;
  }
}

at::ScalarType compute_type(const at::Tensor& t) {
  return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// k, v [b, F, I, J, h, D] -> [b*h*I*F, J, 2D]
at::Tensor pack_kv(const at::Tensor& k, const at::Tensor& v) {
  const auto type = compute_type(k);
  const at::Tensor kv = at::cat({k.permute({0, 4, 2, 1, 3, 5}), v.permute({0, 4, 2, 1, 3, 5})}, 5);
  return kv.to(type).view({-1, k.size(3), 2 * k.size(5)});
}

// q [b, A, I, J, h, D], kv of pack_kv -> [b, A, I, J, h, D] as a strided view
at::Tensor attend_tiles(const at::Tensor& q, const at::Tensor& kv, int64_t tiles_kv,
                        int64_t num_iters, double scale) {
  const int64_t b = q.size(0), tiles = q.size(1), rows = q.size(2), cols = q.size(3),
                heads = q.size(4), dim = q.size(5);
  const at::Tensor wide = q.to(compute_type(q));
  const Chunk chunk{
      .n = b * heads,
      .tiles_q = tiles,
      .tiles_kv = tiles_kv,
      .rows = rows,
      .cols = cols,
      .head_dim = dim,
      .q_rows = wide.permute({0, 4, 2, 1, 3, 5}).reshape({b * heads * rows, tiles * cols, dim}),
      .q_cols = wide.permute({0, 4, 1, 3, 2, 5}).reshape({b * heads * tiles * cols, rows, dim}),
      .kv = kv};
  return attend_chunk(chunk, num_iters, scale)
      .view({b, heads, tiles, cols, rows, dim})
      .permute({0, 2, 4, 3, 1, 5});
}

// Query tiles q [B,A,I,J,H,D] against key tiles k, v [B,F,I,J,H,D]; every pair is visible.
at::Tensor attend_blocks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         int64_t num_iters, double scale) {
  const int64_t batch = q.size(0), tiles = q.size(1), rows = q.size(2), cols = q.size(3),
                heads = q.size(4), dim = q.size(5), tiles_kv = k.size(1);
  const bool grad =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  // Largest tensors of one (head, query tile): R twice, aL|Y, L.
  const int64_t floats = tiles_kv * rows * cols * (2 * cols + 2 * dim + 2 * rows);
  const int64_t fit = std::max<int64_t>(1, workspace_floats(q.device()) / floats);
  if (grad || fit >= batch * heads * tiles) {
    return attend_tiles(q, pack_kv(k, v), tiles_kv, num_iters, scale).to(q.scalar_type());
  }
  // One sample at a time, as many heads as fit with all query tiles, else one head and fewer tiles.
  const int64_t head_step = std::clamp<int64_t>(fit / tiles, 1, heads);
  const int64_t tile_step = std::min(tiles, std::max<int64_t>(1, fit / head_step));
  at::Tensor out = at::empty({batch, tiles, rows, cols, heads, dim}, q.options());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t head = 0; head < heads; head += head_step) {
      const int64_t num_heads = std::min(head_step, heads - head);
      const auto part = [&](const at::Tensor& t) {
        return t.narrow(0, b, 1).narrow(4, head, num_heads);
      };
      const at::Tensor kv = pack_kv(part(k), part(v));
      for (int64_t tile = 0; tile < tiles; tile += tile_step) {
        const int64_t num_tiles = std::min(tile_step, tiles - tile);
        part(out)
            .narrow(1, tile, num_tiles)
            .copy_(
                attend_tiles(part(q).narrow(1, tile, num_tiles), kv, tiles_kv, num_iters, scale));
      }
    }
  }
  return out;
}

// [B, N, H, D] in block order -> [B, tiles, rows, cols, H, D]
at::Tensor as_tiles(const at::Tensor& t, const Blocks& blocks) {
  return t.unflatten(1, {blocks.tiles, blocks.rows, blocks.cols});
}

}  // namespace

at::Tensor monarch_attention_blocks(const at::Tensor& q, const at::Tensor& k_blocks,
                                    const at::Tensor& v_blocks, const MonarchOptions& options,
                                    const Grid& q_grid, const Grid& kv_grid, double scale) {
  const Blocks kv_blocks = blocks_of(kv_grid, options);
  const at::Tensor out = attend_blocks(
      as_tiles(to_block_order(q, q_grid, options), blocks_of(q_grid, options)),
      as_tiles(k_blocks, kv_blocks), as_tiles(v_blocks, kv_blocks), options.num_iters, scale);
  return from_block_order(out.flatten(1, 3), q_grid, options);
}

at::Tensor monarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const MonarchOptions& options, const Grid& q_grid, const Grid& kv_grid,
                             double scale) {
  return monarch_attention_blocks(q, to_block_order(k, kv_grid, options),
                                  to_block_order(v, kv_grid, options), options, q_grid, kv_grid,
                                  scale);
}

at::Tensor monarch_attention_block_causal(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const MonarchOptions& options,
                                          const Grid& grid, int64_t block_tokens, double scale) {
  const Blocks blocks = blocks_of(grid, options);
  const at::Tensor q_tiles = as_tiles(to_block_order(q, grid, options), blocks);
  const at::Tensor k_tiles = as_tiles(to_block_order(k, grid, options), blocks);
  const at::Tensor v_tiles = as_tiles(to_block_order(v, grid, options), blocks);
  const int64_t step = block_tokens / blocks.block_tokens();
  std::vector<at::Tensor> pieces;
  for (int64_t tile = 0; tile < blocks.tiles; tile += step) {
    pieces.push_back(attend_blocks(q_tiles.narrow(1, tile, step), k_tiles.narrow(1, 0, tile + step),
                                   v_tiles.narrow(1, 0, tile + step), 1, scale));
  }
  return from_block_order(at::cat(pieces, 1).flatten(1, 3), grid, options);
}

}  // namespace monarch::ops::composed
