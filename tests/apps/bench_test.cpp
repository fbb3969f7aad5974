// `monarch bench generate` on the tiny model: every stage is verified and timed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "apps/bench/gpu_info.h"
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

TEST(Bench, AttentionIsTimedBesideItsPeers) {
  const RunResult run = run_monarch(
      "bench attention --json --threads 2 --repeats 1 --backward --grid 4x6 --query-frames 1 "
      "--kv-frames 2 --heads 2 --head-dim 16");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  std::istringstream lines(run.output);
  std::set<std::string> measured, ratios;
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line);
    if (json.contains("ratio")) ratios.insert(json["ratio"]);
    if (!json.contains("implementation") || !json.contains("work")) continue;
    measured.insert(json["work"].get<std::string>() + ' ' +
                    json["implementation"].get<std::string>() + ' ' + json["threads"].dump());
  }
  for (const char* work : {"attention", "attention-backward"}) {
    for (const char* one : {"monarch 2", "torch-composed 2", "torch-einsum 2", "torch-dense 2",
                            "torch-matmul 2", "monarch 1", "torch-matmul 1"}) {
      EXPECT_TRUE(measured.contains(std::string(work) + ' ' + one)) << work << ' ' << one;
    }
  }
  for (const char* ratio :
       {"torch-einsum / monarch", "torch-dense / monarch", "monarch 1 / 2 threads",
        "monarch rate / torch-matmul rate", "monarch backward / forward"}) {
    EXPECT_TRUE(ratios.contains(ratio)) << ratio;
  }
}

TEST(Bench, TheAuthorsProtocolIsDrawn) {
  const std::filesystem::path plot = std::filesystem::path(::testing::TempDir()) / "protocol.svg";
  const RunResult run = run_monarch(
      "bench attention --protocol --json --repeats 1 --kv-frames 1 --heads 1 "
      "--head-dim 8 --plot '" +
      plot.string() + "'");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  for (const char* work : {"\"streaming\"", "\"bidirectional\"", "\"streaming-720p\"",
                           "\"monarch (1,2,4)\"", "\"monarch (1,6,2)\""}) {
    EXPECT_NE(run.output.find(work), std::string::npos) << work;
  }
  std::ifstream file(plot);
  const std::string svg((std::istreambuf_iterator<char>(file)), {});
  EXPECT_TRUE(svg.starts_with("<svg xmlns=")) << svg.substr(0, 100);
  EXPECT_NE(svg.find("(1,6,2)"), std::string::npos);
  EXPECT_EQ(run_monarch("bench attention --plot x.svg").exit_code, 2);
}

TEST(Bench, ShortWorkIsRepeatedWithinAMeasurement) {
  const std::string problem =
      "bench attention --json --threads 1 --repeats 2 --grid 4x6 --query-frames 1 --kv-frames 1 "
      "--heads 1 --head-dim 16";
  const auto ours = [](const RunResult& run) {
    std::istringstream lines(run.output);
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line);
      if (json.contains("work") && json["implementation"] == "monarch") return json;
    }
    return Json::object();
  };
  const RunResult plain = run_monarch(problem);
  ASSERT_EQ(plain.exit_code, 0) << plain.output;
  EXPECT_EQ(ours(plain)["runs_a_measurement"], 1);
  const RunResult repeated = run_monarch(problem + " --measurement-ms 20");
  ASSERT_EQ(repeated.exit_code, 0) << repeated.output;
  const Json measured = ours(repeated);
  EXPECT_EQ(measured["runs"], 2);
  const auto runs = measured["runs_a_measurement"].get<std::int64_t>();
  const double seconds = measured["seconds_median"];
  EXPECT_GT(runs, 1);
  // Of one run: a measurement is about 20 ms, on a busy machine longer.
  EXPECT_GT(seconds * static_cast<double>(runs), 0.002) << measured;
  EXPECT_LT(seconds, 0.02) << measured;
}

TEST(Bench, AMissingGpuIsSaid) {
  for (const std::string work : {"attention", "layer", "text", "vae", "generate", "train"}) {
    const RunResult run = run_monarch("bench " + work + " --device cuda:100");
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_NE(run.output.find("--device cuda:100: no CUDA device: "), std::string::npos)
        << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  }
  const RunResult run = run_monarch("bench attention --device tpu");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("unknown device 'tpu'; use cpu or cuda"), std::string::npos)
      << run.output;
}

TEST(GpuInfo, NamesCardsAndDriver) {
  const TemporaryFolder proc;
  EXPECT_EQ(apps::read_gpu_info(proc.path()).model, "");
  EXPECT_EQ(apps::read_gpu_info(proc.path()).driver, "");
  const auto write = [&](const std::string& file, const std::string& text) {
    std::filesystem::create_directories((proc.path() / file).parent_path());
    std::ofstream(proc / file) << text;
  };
  for (const char* card : {"gpus/0000:0a:00.0", "gpus/0000:0b:00.0"}) {
    write(std::string(card) + "/information",
          "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 1\nDevice Minor: \t 0\n");
  }
  write("version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n");
  EXPECT_EQ(apps::read_gpu_info(proc.path()).model, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(apps::read_gpu_info(proc.path()).driver, "570.86.15");
  write("gpus/0000:0c:00.0/information", "Model: \t\t NVIDIA L4\n");
  EXPECT_EQ(apps::read_gpu_info(proc.path()).model, "NVIDIA H100 80GB HBM3, NVIDIA L4");
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
