// Parity fixtures of the attention operators, replayed against any implementation.
#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "monarch/attention/problem.h"
#include "tests/attention/support/tensor.h"

namespace monarch::attention::test {

using TensorMap = std::map<std::string, Tensor>;

struct Fixture {
  std::string name;  // file name without extension
  std::string op;
  std::string config;  // JSON
  double tolerance = 0;
  double rms_floor = 1e-3;
  // Worst error of the plain formula with every tensor rounded to bf16; infinite if not recorded.
  double observed_bf16 = std::numeric_limits<double>::infinity();
  TensorMap tensors;  // input.*, expect.*, grad.*
};

Fixture load_fixture(const std::filesystem::path& path);

// The committed fixtures, and those in the folder named by MONARCH_ATTENTION_FIXTURES if it is set.
std::vector<std::filesystem::path> fixture_files();

// Problems as the fixture's config describes them.
DenseProblem dense_problem(const Fixture& fixture);
MonarchProblem monarch_problem(const Fixture& fixture);
VMonarchProblem vmonarch_problem(const Fixture& fixture);
CacheWrite cache_write(const Fixture& fixture);

}  // namespace monarch::attention::test
