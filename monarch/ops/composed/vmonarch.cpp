// VMonarch attention.     i,k: factor rows (with split f,hw: runs of frames), j,l: positions in one
//   aR[k,j] = Σ_i L[j,i,k] q[i,j]     cR[k,j] = Σ_i L[j,i,k]     (L = identity at the start)
//   R [k,j,:] = softmax_l( s aR·k[k,l] / max(cR, c_r_min) )
//   aL[k,j] = Σ_l R k[k,l]            H[k,j] = -Σ_l R log R
//   L [j,i,:] = softmax_k( s q[i,j]·aL[k,j] + H[k,j] )
//   out[i,j] = Σ_k L[j,i,k] Σ_l R v[k,l]
#include "monarch/ops/composed/attention.h"
#include "monarch/ops/composed/row_softmax.h"

namespace monarch::ops::composed {
namespace {

// One head: q, k, v [m, P, D] in the compute type -> [m, P, D].
at::Tensor attend_head(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const VMonarchOptions& options, double scale) {
  const at::Tensor q_cols = q.transpose(0, 1);  // [P(j), m(i), D]
  at::Tensor a_r = q;                           // [m(k), P(j), D]
  at::Tensor temperature;                       // [m(k), 1, P(j)], undefined = 1
  for (int64_t iteration = 1;; ++iteration) {
    const bool last = iteration == options.num_iters;
    // A factor row at a time: its scores are P x P.
    std::vector<at::Tensor> keys, values, entropies;
    for (int64_t row = 0; row < k.size(0); ++row) {
      at::Tensor z = at::matmul(k[row], a_r[row].t()).mul(scale);  // [P(l), P(j)]
      if (temperature.defined()) z = z / temperature[row];
      const auto [r, c_l] = row_softmax(z.unsqueeze(0));
      keys.push_back(at::matmul(r[0].t(), k[row]));
      if (last) values.push_back(at::matmul(r[0].t(), v[row]));
      entropies.push_back(c_l[0].detach().neg());
    }
    const at::Tensor a_l = at::stack(keys, 1);     // [P(j), m(k), D]
    const at::Tensor h = at::stack(entropies, 1);  // [P(j), m(k)]
    const at::Tensor l =
        at::softmax(at::baddbmm(h.unsqueeze(1), q_cols, a_l.transpose(1, 2), 1, scale), 2);
    if (last) return at::bmm(l, at::stack(values, 1)).transpose(0, 1);
    a_r = at::bmm(l.transpose(1, 2), q_cols).transpose(0, 1);
    temperature = l.sum(1).clamp_min(options.c_r_min).t().unsqueeze(1);
  }
}

// The token at each position of the split; undefined where that is token order.
at::Tensor tokens_of_positions(const Grid& grid, attention::Split split, const at::Device& device) {
  std::vector<int64_t> order;  // of frame 0, row 1 and column 2, slowest first
  switch (split) {
    case attention::Split::kFrameRowsXCols:
    case attention::Split::kFramesXPixels: return {};
    case attention::Split::kColsXFrameRows: order = {2, 0, 1}; break;
    case attention::Split::kPixelsXFrames: order = {1, 2, 0}; break;
    case attention::Split::kFrameColsXRows: order = {0, 2, 1}; break;
    case attention::Split::kRowsXFrameCols: order = {1, 0, 2}; break;
  }
  return at::arange(grid.tokens(), at::TensorOptions().dtype(at::kLong).device(device))
      .view({grid.frames, grid.height, grid.width})
      .permute(order)
      .flatten();
}

}  // namespace

at::Tensor vmonarch_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const VMonarchOptions& options, const Grid& grid, double scale) {
  const attention::SplitLayout layout{grid.frames, grid.height, grid.width,
                                      options.frames_per_factor, options.split};
  const int64_t rows = layout.num_rows();
  const at::Tensor tokens = tokens_of_positions(grid, options.split, q.device());
  const auto type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto heads = [&](const at::Tensor& t) {  // [B, N, H, D] -> [B, H, m, P, D]
    const at::Tensor ordered = tokens.defined() ? t.index_select(1, tokens) : t;
    return ordered.transpose(1, 2).to(type).unflatten(2, {rows, grid.tokens() / rows});
  };
  const at::Tensor qh = heads(q), kh = heads(k), vh = heads(v);
  std::vector<at::Tensor> pieces;
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t head = 0; head < q.size(2); ++head) {
      pieces.push_back(attend_head(qh[b][head], kh[b][head], vh[b][head], options, scale));
    }
  }
  at::Tensor out = at::stack(pieces)  // [B*H, m, P, D] -> [B, N, H, D]
                       .view({q.size(0), q.size(2), grid.tokens(), q.size(3)})
                       .transpose(1, 2)
                       .to(q.scalar_type());
  if (tokens.defined()) out = out.index_select(1, at::argsort(tokens));
  if (!options.recompute_first_frame) return out;
  const int64_t first = grid.frame_tokens();
  return at::cat({dense_attention(q.narrow(1, 0, first), k, v, scale),
                  out.narrow(1, first, grid.tokens() - first)},
                 1);
}

}  // namespace monarch::ops::composed
