#pragma once

#include <deque>

#include "monarch/sampling/solver.h"

namespace monarch::sampling {

// UniPC with data prediction and B(h) = expm1(-h) ("bh2"), any order (Zhao et al., 2023). Each step
// first corrects the incoming sample with the new model output, then predicts the next one; the
// order grows from 1 with the history and falls back to 1 at the end.
class UniPcSolver : public Solver {
 public:
  explicit UniPcSolver(const SolverOptions& options);

 protected:
  at::Tensor advance(std::int64_t i, const at::Tensor& flow, const at::Tensor& x) override;

 private:
  // Moves x from grid point s to s + 1 with order p; with `m_next` (the model output at s + 1) as a
  // corrector.
  at::Tensor move(std::int64_t s, std::int64_t p, const at::Tensor& x,
                  const at::Tensor* m_next) const;

  std::int64_t order_;
  std::int64_t previous_order_ = 0;  // the order of the last predictor
  at::Tensor corrected_;             // the sample the last predictor started from
  std::deque<at::Tensor> outputs_;   // m_s, m_{s-1}, ... newest first
};

}  // namespace monarch::sampling
