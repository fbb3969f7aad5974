// What the emulator says of a kernel.
#pragma once

#include <functional>
#include <string>

#include "tests/attention/cuda_emulator/cluster.h"

namespace monarch::attention::test {

inline std::string error_of(const Grid& grid, const std::function<void()>& kernel) {
  try {
    launch(grid, kernel);
  } catch (const EmulationError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace monarch::attention::test
