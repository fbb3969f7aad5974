// `monarch bench generate` on the tiny model: every stage is verified and timed.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

using Json = nlohmann::json;

TEST(Bench, GenerateMeasuresTheStagesOfAModel) {
  const RunResult run =
      run_monarch("bench generate --json --threads 1 --repeats 1 --steps 1 " +
                  std::string("--chunk-frames 3 --cached-frames 3 --model '") + tiny_model() + "'");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  std::istringstream lines(run.output);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_TRUE(Json::parse(line).contains("cpu")) << line;
  std::set<std::string> works;
  while (std::getline(lines, line)) {
    const Json measured = Json::parse(line);
    if (!measured.contains("work")) continue;
    const std::string work = measured["work"];
    works.insert(work);
    EXPECT_EQ(measured["threads"], 1);
    EXPECT_EQ(measured["dtype"], "f32");
    EXPECT_GT(measured["seconds_median"].get<double>(), 0) << line;
    EXPECT_EQ(measured["gflop"].get<double>() > 0, work != "text") << line;
    const bool verified = work == "denoiser-pass" || work == "decode" || work == "stream-pass" ||
                          work == "stream-decode";
    EXPECT_EQ(measured.contains("error"), verified) << line;
    // float32 against float64: neither wrong nor the same computation twice.
    if (verified) {
      EXPECT_GT(measured["error"].get<double>(), 0) << line;
    }
    if (work == "stream-chunk") {
      EXPECT_TRUE(measured["shape"].get<std::string>().starts_with("12 new frames of 128x96"));
    }
  }
  EXPECT_EQ(works, (std::set<std::string>{"text", "denoiser-pass", "decode", "video", "stream-pass",
                                          "stream-decode", "stream-chunk"}));
}

TEST(Bench, WrongFlagsAreExplained) {
  const RunResult run = run_monarch("bench generate --size 12");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("--size 12 is not WIDTHxHEIGHT; for example 256x160"),
            std::string::npos)
      << run.output;
}

}  // namespace
}  // namespace monarch::testing
