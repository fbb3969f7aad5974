#include "monarch/sampling/solver.h"

#include <array>
#include <cmath>

#include "monarch/base/error.h"
#include "monarch/base/suggest.h"
#include "monarch/sampling/dpmpp.h"
#include "monarch/sampling/euler.h"
#include "monarch/sampling/unipc.h"

namespace monarch::sampling {

double Solver::lambda(std::int64_t i) const { return std::log(alpha(i)) - std::log(sigma(i)); }

at::Tensor Solver::step(const at::Tensor& flow, const at::Tensor& x) {
  MONARCH_CHECK(step_ < num_steps(), "[monarch_sampling] all ", num_steps(),
                " steps of this solver have been taken; make a new one");
  MONARCH_CHECK(flow.sizes() == x.sizes(), "[monarch_sampling] flow has shape ",
                shape_string(flow.sizes()), ", but x has ", shape_string(x.sizes()));
  const at::ScalarType compute = at::promote_types(x.scalar_type(), at::kFloat);
  const at::Tensor next = advance(step_, flow.to(compute), x.to(compute));
  ++step_;
  return next.to(x.scalar_type());
}

std::unique_ptr<Solver> make_solver(const SolverOptions& options) {
  if (options.name == "unipc") return std::make_unique<UniPcSolver>(options);
  if (options.name == "dpm++") return std::make_unique<DpmppSolver>(options);
  if (options.name == "euler") return std::make_unique<EulerSolver>(options);
  const std::array<std::string, 3> known = {"unipc", "dpm++", "euler"};
  fail(ErrorCode::kInvalidArgument, "[monarch_sampling] unknown solver '", options.name,
       "'; use unipc, dpm++ or euler", did_you_mean(options.name, known));
}

}  // namespace monarch::sampling
