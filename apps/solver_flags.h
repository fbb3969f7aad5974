// Flags that only solvers of many steps take.
#pragma once

#include <initializer_list>
#include <string_view>

#include "monarch/pipelines/generation_options.h"

namespace monarch::apps {

struct SolverFlag {
  const char* name;
  bool given;
};

// Throws if one was given for a few-step model, which would pass over it in silence.
void check_solver_flags(std::string_view command, const pipelines::GenerationOptions& options,
                        std::initializer_list<SolverFlag> flags);

}  // namespace monarch::apps
