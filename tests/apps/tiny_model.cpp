#include "tests/apps/tiny_model.h"

#include <gtest/gtest.h>

#include "tests/apps/run_binary.h"

namespace monarch::testing {

const std::string& tiny_model() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    const std::string model = folder / "tiny";
    const RunResult made = run_monarch(
        "init '" + model + "' --preset tiny --tokenizer tests/fixtures/wan/tokenizer_unk.model");
    EXPECT_EQ(made.exit_code, 0) << made.output;
    return model;
  }();
  return path;
}

}  // namespace monarch::testing
