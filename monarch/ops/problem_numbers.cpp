#include "monarch/ops/problem_numbers.h"

#include <array>
#include <variant>

#include "monarch/base/error.h"

namespace monarch::ops {

using attention::DenseProblem;
using attention::MonarchProblem;
using attention::Problem;
using attention::VMonarchProblem;

ProblemNumbers encode(const Problem& problem) {
  if (const auto* dense = std::get_if<DenseProblem>(&problem)) {
    return {{0, dense->block_causal_size}, {dense->scale()}};
  }
  if (const auto* p = std::get_if<MonarchProblem>(&problem)) {
    return {{1, p->q_frames, p->kv_frames, p->height, p->width, p->f_tied, p->h_reduce, p->w_reduce,
             p->num_iters, p->block_causal_size, p->kv_block_order ? 1 : 0},
            {p->scale()}};
  }
  const auto& p = std::get<VMonarchProblem>(problem);
  return {{2, p.frames, p.height, p.width, p.num_iters, p.recompute_first_frame ? 1 : 0,
           p.frames_per_factor, static_cast<int64_t>(p.split)},
          {p.scale(), p.c_r_min}};
}

Problem decode(const at::Tensor& q, const at::Tensor& k, at::IntArrayRef n,
               at::ArrayRef<double> x) {
  constexpr std::array<size_t, 3> kIntegers{2, 11, 8}, kScalars{1, 1, 2};
  const size_t kind = n.empty() ? 3 : static_cast<size_t>(n[0]);
  MONARCH_CHECK(kind < 3 && n.size() == kIntegers.at(kind) && x.size() == kScalars.at(kind),
                "[monarch_ops] these settings describe no attention problem; call dense_attention, "
                "monarchrt_attention or vmonarch_attention");
  const int64_t batch = q.size(0), heads = q.size(2), dim = q.size(3);
  if (kind == 0) {
    return DenseProblem{.batch = batch,
                        .num_heads = heads,
                        .head_dim = dim,
                        .q_tokens = q.size(1),
                        .kv_tokens = k.size(1),
                        .softmax_scale = x[0],
                        .block_causal_size = n[1]};
  }
  if (kind == 1) {
    return MonarchProblem{.batch = batch,
                          .num_heads = heads,
                          .head_dim = dim,
                          .q_frames = n[1],
                          .kv_frames = n[2],
                          .height = n[3],
                          .width = n[4],
                          .f_tied = n[5],
                          .h_reduce = n[6],
                          .w_reduce = n[7],
                          .num_iters = n[8],
                          .softmax_scale = x[0],
                          .block_causal_size = n[9],
                          .kv_block_order = n[10] != 0};
  }
  return VMonarchProblem{.batch = batch,
                         .num_heads = heads,
                         .head_dim = dim,
                         .frames = n[1],
                         .height = n[2],
                         .width = n[3],
                         .num_iters = n[4],
                         .softmax_scale = x[0],
                         .c_r_min = x[1],
                         .recompute_first_frame = n[5] != 0,
                         .frames_per_factor = n[6],
                         .split = static_cast<attention::Split>(n[7])};
}

}  // namespace monarch::ops
