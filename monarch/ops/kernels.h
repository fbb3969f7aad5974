// The kernels of monarch/attention on Torch tensors.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <tuple>

#include "monarch/attention/registry.h"

namespace monarch::ops {

// Why no kernel may run whatever the call, for example "MONARCH_ATTENTION=composed"; empty if they
// may.
std::string forced_refusal();

// A ParallelLoop on Torch's threads.
void torch_loop(int num_threads, std::int64_t num_tasks,
                const std::function<void(std::int64_t task, int thread)>& body);

// Why the kernels cannot attend with these tensors, and with `gradients` also differentiate; empty
// if they can. Throws if the problem itself is invalid.
std::string kernels_refusal(const attention::Problem& problem, const at::Tensor& q, bool gradients);

// The kernels as a differentiable Torch operator, monarch::attention_forward; `label` is what the
// run is counted as. The problem must not be refused.
at::Tensor kernel_attention(const attention::Problem& problem, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const std::string& label);

// Runs them where the operands lie: on Torch's threads, or on a GPU's current stream, where the
// call returns at once. q, k, v are [B, N, H, D]. With `keep_lse` the implementation is one that
// can go back and lse is [B, H, Nq] float32 for it; without, lse is empty.
std::tuple<at::Tensor, at::Tensor> run_forward(const attention::Problem& problem,
                                               const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v, const std::string& label,
                                               bool keep_lse);

// Gradients of q, k and v.
std::tuple<at::Tensor, at::Tensor, at::Tensor> run_backward(
    const attention::Problem& problem, const at::Tensor& grad_out, const at::Tensor& q,
    const at::Tensor& k, const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
    const std::string& label);

}  // namespace monarch::ops
