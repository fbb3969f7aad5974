#include "apps/solver_flags.h"

#include "apps/shipped.h"
#include "monarch/base/error.h"

namespace monarch::apps {

void check_solver_flags(std::string_view command, const pipelines::GenerationOptions& options,
                        std::initializer_list<SolverFlag> flags) {
  if (options.denoising_step_list.empty()) return;
  for (const SolverFlag& flag : flags) {
    MONARCH_CHECK(!flag.given, "[", command, "] ", flag.name,
                  " has no meaning for a few-step model, which takes the steps ",
                  shape_string(options.denoising_step_list),
                  " (denoising_step_list) without guidance or solver; a model of many steps is ",
                  kShapesModel);
  }
}

}  // namespace monarch::apps
