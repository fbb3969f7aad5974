#include "monarch/attention/registry.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "monarch/attention/cpu/dense_backward.h"
#include "monarch/attention/cpu/dense_forward.h"
#include "monarch/attention/cpu/monarch_backward.h"
#include "monarch/attention/cpu/monarch_forward.h"
#include "monarch/attention/cpu/monarch_refined.h"
#include "monarch/attention/cpu/operand.h"
#include "monarch/attention/cpu/vmonarch_backward.h"
#include "monarch/attention/cpu/vmonarch_forward.h"
#include "monarch/attention/cuda/implementation.h"
#include "monarch/attention/cuda/sm90_implementation.h"
#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_backward.h"
#include "monarch/attention/reference/vmonarch_forward.h"

namespace monarch::attention {
namespace {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

void validate_any(const Problem& problem) {
  std::visit([](const auto& p) { validate(p); }, problem);
}

class Reference final : public Implementation {
 public:
  std::string_view name() const override { return "reference"; }
  std::string refusal(const Problem& problem, DType /*dtype*/,
                      Direction /*direction*/) const override {
    validate_any(problem);
    return "";
  }
  std::size_t forward_workspace(const Problem& /*problem*/, int /*num_threads*/) const override {
    return 0;
  }
  std::size_t backward_workspace(const Problem& /*problem*/, int /*num_threads*/) const override {
    return 0;
  }

  void forward(const Problem& problem, const ForwardTensors& t, int /*num_threads*/,
               std::span<std::byte> /*workspace*/, const ParallelLoop& /*loop*/) const override {
    std::visit(
        Overloaded{
            [&](const DenseProblem& p) { reference::dense_forward(p, t.q, t.k, t.v, t.out); },
            [&](const MonarchProblem& p) { reference::monarch_forward(p, t.q, t.k, t.v, t.out); },
            [&](const VMonarchProblem& p) {
              reference::vmonarch_forward(p, t.q, t.k, t.v, t.out);
            }},
        problem);
  }

  void backward(const Problem& problem, const BackwardTensors& t, int /*num_threads*/,
                std::span<std::byte> /*workspace*/, const ParallelLoop& /*loop*/) const override {
    std::visit(Overloaded{[&](const DenseProblem& p) {
                            reference::dense_backward(p, t.q, t.k, t.v, t.grad_out, t.grad_q,
                                                      t.grad_k, t.grad_v);
                          },
                          [&](const MonarchProblem& p) {
                            reference::monarch_backward(p, t.q, t.k, t.v, t.grad_out, t.grad_q,
                                                        t.grad_k, t.grad_v);
                          },
                          [&](const VMonarchProblem& p) {
                            reference::vmonarch_backward(p, t.q, t.k, t.v, t.grad_out, t.grad_q,
                                                         t.grad_k, t.grad_v);
                          }},
               problem);
  }
};

class Cpu final : public Implementation {
 public:
  explicit Cpu(cpu::Isa isa) : isa_(isa), name_("cpu-" + std::string(cpu::isa_name(isa))) {}

  std::string_view name() const override { return name_; }

  std::string refusal(const Problem& problem, DType dtype, Direction direction) const override {
    validate_any(problem);
    if (!cpu::takes(isa_, dtype)) {
      const bool all = cpu::takes(isa_, DType::kF32);
      return str_cat(name_, " takes ", all ? "F32, BF16 or F16" : "BF16", ", not ",
                     dtype_name(dtype));
    }
    const std::int64_t head_dim = std::visit([](const auto& p) { return p.head_dim; }, problem);
    if (head_dim > cpu::kMaxHeadDim) {
      return str_cat(name_, " takes head_dim up to ", cpu::kMaxHeadDim, ", not ", head_dim);
    }
    const auto* monarch = std::get_if<MonarchProblem>(&problem);
    if (monarch != nullptr && monarch->num_iters != 1 && !has_steps()) {
      return str_cat(name_, " does one refinement step, not ", monarch->num_iters);
    }
    if (direction == Direction::kBackward && !has_steps()) {
      return str_cat(name_, " has no backward");
    }
    return "";
  }

  std::size_t forward_workspace(const Problem& problem, int num_threads) const override {
    return std::visit(
        Overloaded{[&](const DenseProblem& p) {
                     return cpu::DenseForwardPlan(p, num_threads, isa_).workspace_bytes();
                   },
                   [&](const MonarchProblem& p) {
                     if (p.num_iters > 1) {
                       require_steps();
                       return cpu::MonarchRefinedPlan(p, num_threads, isa_).workspace_bytes();
                     }
                     return cpu::MonarchForwardPlan(p, num_threads, isa_).workspace_bytes();
                   },
                   [&](const VMonarchProblem& p) {
                     return cpu::VMonarchForwardPlan(p, num_threads, isa_).workspace_bytes();
                   }},
        problem);
  }

  std::size_t backward_workspace(const Problem& problem, int num_threads) const override {
    require_steps();
    return std::visit(
        Overloaded{[&](const DenseProblem& p) {
                     return cpu::DenseBackwardPlan(p, num_threads, isa_).workspace_bytes();
                   },
                   [&](const MonarchProblem& p) {
                     return cpu::MonarchBackwardPlan(p, num_threads, isa_).workspace_bytes();
                   },
                   [&](const VMonarchProblem& p) {
                     return cpu::VMonarchBackwardPlan(p, num_threads, isa_).workspace_bytes();
                   }},
        problem);
  }

  void forward(const Problem& problem, const ForwardTensors& t, int num_threads,
               std::span<std::byte> workspace, const ParallelLoop& loop) const override {
    std::visit(Overloaded{[&](const DenseProblem& p) {
                            cpu::DenseForwardPlan(p, num_threads, isa_, loop)
                                .run(t.q, t.k, t.v, t.out, t.lse, workspace);
                          },
                          [&](const MonarchProblem& p) {
                            if (p.num_iters > 1) {
                              require_steps();
                              cpu::MonarchRefinedPlan(p, num_threads, isa_, loop)
                                  .run(t.q, t.k, t.v, t.out, workspace);
                              return;
                            }
                            cpu::MonarchForwardPlan(p, num_threads, isa_, loop)
                                .run(t.q, t.k, t.v, t.out, t.lse, workspace);
                          },
                          [&](const VMonarchProblem& p) {
                            cpu::VMonarchForwardPlan(p, num_threads, isa_, loop)
                                .run(t.q, t.k, t.v, t.out, t.lse, workspace);
                          }},
               problem);
  }

  void backward(const Problem& problem, const BackwardTensors& t, int num_threads,
                std::span<std::byte> workspace, const ParallelLoop& loop) const override {
    require_steps();
    const cpu::BackwardInputs inputs{t.q, t.k, t.v, t.out, t.grad_out, t.lse};
    const cpu::Gradients gradients{t.grad_q, t.grad_k, t.grad_v};
    std::visit(
        Overloaded{
            [&](const DenseProblem& p) {
              cpu::DenseBackwardPlan(p, num_threads, isa_, loop).run(inputs, gradients, workspace);
            },
            [&](const MonarchProblem& p) {
              cpu::MonarchBackwardPlan(p, num_threads, isa_, loop)
                  .run(inputs, gradients, workspace);
            },
            [&](const VMonarchProblem& p) {
              cpu::VMonarchBackwardPlan(p, num_threads, isa_, loop)
                  .run(inputs, gradients, workspace);
            }},
        problem);
  }

 private:
  // Gradients and refinement; the sets for bf16 have neither.
  bool has_steps() const { return cpu::kernels(isa_).step_rows != nullptr; }
  void require_steps() const {
    MONARCH_CHECK_CODE(has_steps(), kUnsupported, "[monarch_attention] ", name_,
                       " has neither gradients nor refinement; ask choose() for one that has");
  }

  cpu::Isa isa_;
  std::string name_;
};

const Implementation& any_gpu() {
  static const cuda::CudaImplementation portable;
  return portable;
}
const Implementation& hopper() {
  static const cuda::Sm90Implementation sm90;
  return sm90;
}

}  // namespace

std::vector<const Implementation*> implementations(Device device) {
  const char* const variable = std::getenv("MONARCH_ISA");
  const std::string_view forced = variable == nullptr ? "" : variable;
  if (device == Device::kCuda) {
    if (forced == cpu::kGpuIsa) return {&hopper(), &any_gpu()};
    return {&any_gpu()};
  }
  static const Reference reference;
  static const std::array<Cpu, 5> cpus{Cpu(cpu::Isa::kGeneric), Cpu(cpu::Isa::kAvx2),
                                       Cpu(cpu::Isa::kAvx512), Cpu(cpu::Isa::kAvx512Bf16),
                                       Cpu(cpu::Isa::kAmx)};
  const auto of = [](cpu::Isa isa) { return &cpus[static_cast<std::size_t>(isa)]; };
  std::vector<const Implementation*> all;
  if (!forced.empty() && forced != cpu::kGpuIsa) {
    const cpu::Isa isa = cpu::default_isa(DType::kBF16);
    all.push_back(of(isa));
    if (cpu::isa_beneath(isa) != isa) all.push_back(of(cpu::isa_beneath(isa)));
  } else {
    for (const cpu::Isa isa : cpu::available_isas(DType::kBF16)) all.insert(all.begin(), of(isa));
  }
  all.push_back(&reference);
  return all;
}

const Implementation& implementation(std::string_view name) {
  std::string names;
  std::vector<const Implementation*> all = implementations();
  all.insert(all.end(), {&any_gpu(), &hopper()});
  for (const Implementation* candidate : all) {
    if (candidate->name() == name) return *candidate;
    names += (names.empty() ? "" : ", ") + std::string(candidate->name());
  }
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] there is no implementation '", name,
       "'; use one of: ", names);
}

const Implementation& choose(const Problem& problem, DType dtype, Direction direction,
                             Device device) {
  std::string reasons;
  for (const Implementation* candidate : implementations(device)) {
    const std::string refusal = candidate->refusal(problem, dtype, direction);
    if (refusal.empty()) return *candidate;
    reasons += (reasons.empty() ? "" : "; ") + refusal;
  }
  fail(ErrorCode::kUnsupported, "[monarch_attention] ", reasons);
}

}  // namespace monarch::attention
