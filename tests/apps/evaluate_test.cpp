// `monarch evaluate shapes --suite` and `--stream` on the tiny model.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class EvaluateSuite : public ::testing::Test {
 protected:
  void write_suite(const std::string& entries, const std::string& more = "baseline: dense\n") {
    std::ofstream(folder_ / "suite.yaml")
        << more
        << "settings: {width: 128, height: 96, num_frames: 9, sampling_steps: 1, "
           "guidance_scale: 1}\nentries:\n"
        << entries;
  }
  static std::string entry(const std::string& name, const std::string& more = "") {
    return "  - {name: " + name + ", model: '" + tiny_model() + "'" + more + "}\n";
  }
  std::string arguments(const std::string& more = "--captions 2 --seeds 2") const {
    return "evaluate shapes --suite '" + (folder_ / "suite.yaml") + "' --output '" +
           (folder_ / "r.json") + "' " + more;
  }
  Json results() const { return Json::parse(read_file(folder_ / "r.json")); }

  TemporaryFolder folder_;
};

const std::string kSparse = ", settings: {monarch_args: {enable: true, f_tied: 3}}";

TEST_F(EvaluateSuite, ComparesOnTheSameNoisesAndGoesOn) {
  write_suite(entry("sparse", kSparse) + entry("dense") + entry("twin", ", about: the same again") +
              entry("student", ", checkpoint: nowhere.pt"));
  RunResult run = run_monarch(arguments());
  EXPECT_EQ(run.exit_code, 1) << run.output;
  EXPECT_NE(run.output.find("not measured: student (there is no nowhere.pt)"), std::string::npos)
      << run.output;
  const Json first = results();
  ASSERT_EQ(first["entries"].size(), 4U);
  const Json &dense = first["entries"][0], &sparse = first["entries"][1],
             &twin = first["entries"][2];
  EXPECT_EQ(dense["name"], "dense");
  EXPECT_EQ(dense["sparsity"], 0);
  EXPECT_FALSE(dense["summary"].contains("difference"));
  EXPECT_EQ(first["captions"][0]["shapes"], 1);
  EXPECT_EQ(first["captions"][1]["shapes"], 2);
  EXPECT_EQ(dense["summary"]["every"]["shapes"], 6);
  // Three tied frames of 6 x 8 tokens.
  EXPECT_NEAR(sparse["sparsity"].get<double>(), 1 - 1.0 / 18 - 1.0 / 8, 1e-12);
  EXPECT_EQ(sparse["reference"], "dense");
  EXPECT_EQ(sparse["summary"]["identical"], 0);
  EXPECT_GT(sparse["summary"]["psnr"]["mean"], 5);
  EXPECT_LT(sparse["summary"]["ssim"]["mean"], 1);
  EXPECT_EQ(twin["summary"]["identical"], 4);
  EXPECT_EQ(twin["summary"]["ssim"]["mean"], 1);
  EXPECT_EQ(twin["summary"]["difference"]["motion"],
            (Json{{"points", 0.0}, {"low", 0.0}, {"high", 0.0}}));
  // Another noise is another video.
  const std::string frames = read_file(folder_ / "r.dense.frames");
  const std::size_t video = 9 * 96 * 128 * 3;
  ASSERT_EQ(frames.size(), 4 * video);
  EXPECT_NE(frames.substr(0, video), frames.substr(2 * video, video));
  EXPECT_NE(read_file(folder_ / "r.md").find("| twin: the same again | 0.0 % |"),
            std::string::npos);
  EXPECT_NE(read_file(folder_ / "r.md").find("not measured: there is no nowhere.pt"),
            std::string::npos);
  EXPECT_TRUE(read_file(folder_ / "r.svg").starts_with("<svg"));

  // What is complete is not measured again: not even its seconds change.
  const std::string before = read_file(folder_ / "r.json");
  run_monarch(arguments());
  EXPECT_TRUE(read_file(folder_ / "r.json") == before);

  // A part is filled up, other settings begin anew.
  Json cut = first;
  cut["entries"][2]["videos"].erase(3);
  cut["entries"][2]["complete"] = false;
  std::ofstream(folder_ / "r.json") << cut.dump();
  write_suite(entry("dense") + entry("sparse", ", settings: {monarch_args: {enable: true}}") +
              entry("twin"));
  run = run_monarch(arguments());
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("sparse: weights or settings are not those of"), std::string::npos)
      << run.output;
  const Json second = results();
  EXPECT_EQ(second["entries"][0], dense);
  EXPECT_NEAR(second["entries"][1]["sparsity"].get<double>(), 1 - 1.0 / 6 - 1.0 / 8, 1e-12);
  EXPECT_EQ(second["entries"][2]["summary"]["identical"], 4);
  EXPECT_EQ(second["entries"][2]["videos"][1], twin["videos"][1]);
  EXPECT_EQ(second["entries"][2]["videos"][3]["caption"], twin["videos"][3]["caption"]);
}

TEST_F(EvaluateSuite, KeepsWhatWasMadeBeforeCtrlC) {
  write_suite(entry("dense") + entry("twin"));
  const std::string many = "--captions 3 --seeds 40";
  const RunResult stopped = run_monarch_and_signal(
      arguments(many), [&] { return fs::exists(folder_ / "r.json"); }, SIGINT);
  EXPECT_EQ(stopped.exit_code, 1);
  const Json kept = results();
  const std::size_t videos = kept["entries"][0]["videos"].size();
  EXPECT_GE(videos, 3U);
  EXPECT_EQ(kept["entries"][0]["complete"], videos == 120);
  EXPECT_EQ(kept["entries"][0]["summary"]["videos"], videos);
}

TEST_F(EvaluateSuite, SaysWhatIsWrong) {
  const auto fails = [&](const std::string& message, const std::string& more = "--captions 1") {
    const RunResult run = run_monarch(arguments(more));
    EXPECT_NE(run.exit_code, 0);
    EXPECT_NE(run.output.find(message), std::string::npos) << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  };
  write_suite(entry("dense", ", modle: x"));
  fails("unknown key 'modle' in");
  write_suite(entry("dense") + entry("dense"));
  fails("has the name 'dense' of an earlier entry");
  write_suite(entry("sparse"));
  fails("has the baseline 'dense', which is none of its entries");
  write_suite(entry("dense") + entry("a", ", against: b") + entry("b"));
  fails("'a' in");
  write_suite("  - {name: dense}\n");
  fails("names no model");
  write_suite(entry("dense") + entry("large", ", settings: {width: 256}"));
  fails("all must be the same size");
  write_suite(entry("dense", ", settings: {monarch_args: {enable: true, h_reduce: 5}}"));
  fails("not divisible by h_reduce 5");
  write_suite(entry("dense", ", checkpoint: nowhere.pt"));
  fails("no entry of");
  write_suite(entry("dense"));
  fails("--seeds must be at least 1", "--captions 1 --seeds 0");
  fails("--suite", "--model models/shapes");
  ASSERT_EQ(run_monarch(arguments("--captions 1")).exit_code, 0);
  fails("holds results of other captions", "--captions 2");
  std::ofstream(folder_ / "r.json") << "{}";
  fails("holds no results of this command");
}

// The tiny model as a folder that streams: the parts are those of the model itself.
TEST(EvaluateStream, JudgesBothEnds) {
  const TemporaryFolder folder;
  const fs::path model = folder / "live";
  fs::create_directory(model);
  for (const auto& part : fs::directory_iterator(tiny_model())) {
    if (part.path().filename() != "generate.yaml")
      fs::create_symlink(part.path(), model / part.path().filename());
  }
  std::ofstream(model / "generate.yaml")
      << "causal: true\ndenoising_step_list: [1000]\nnum_frame_per_block: 3\nwidth: 128\n"
         "height: 96\nnum_frames: 21\nmonarch_args: {enable: true}\n";
  const std::string command = "evaluate shapes --model '" + model.string() + "' --stream ";
  const RunResult run = run_monarch(command + "18 --captions 2 --each --json");
  ASSERT_EQ(run.exit_code, 0) << run.output;
  std::istringstream lines(run.output);
  std::vector<Json> streams;
  for (std::string line; std::getline(lines, line);) streams.push_back(Json::parse(line));
  ASSERT_EQ(streams.size(), 3U);
  EXPECT_EQ(streams[0]["first"]["shapes"], 1);  // 36 frames hold one video of 21
  EXPECT_EQ(streams[1]["last"]["shapes"], 2);
  const Json& all = streams[2];
  EXPECT_EQ(all["caption"], "all 2 streams");
  EXPECT_EQ(all["first"]["shapes"], 3);
  EXPECT_NEAR(all["sparsity"].get<double>(), 1 - 1.0 / 6 - 1.0 / 8, 1e-12);
  for (const char* end : {"first", "last"}) {
    EXPECT_GT(all[end]["chunk_seconds"].get<double>(), 0);
    EXPECT_GT(all[end]["memory_bytes"].get<double>(), 1e7);
    EXPECT_NEAR(
        all[end]["movement"].get<double>(),
        (streams[0][end]["movement"].get<double>() + streams[1][end]["movement"].get<double>()) / 2,
        1e-9);
  }
  EXPECT_NE(streams[0]["first"]["movement"], streams[0]["last"]["movement"]);

  const auto fails = [&](const std::string& arguments, const std::string& message) {
    const RunResult bad = run_monarch(arguments);
    EXPECT_NE(bad.exit_code, 0);
    EXPECT_NE(bad.output.find(message), std::string::npos) << bad.output;
  };
  fails(command + "9", "--stream is 9 latent frames");
  fails(command + "0", "--stream is 0 latent frames");
  fails(command + "30 --steps 2", "--steps excludes --stream");
  fails("evaluate shapes --stream 30 --model '" + tiny_model() + "'", "makes whole videos");
  fails(command + "30 --attention dense", "--attention excludes --stream");
}

}  // namespace
}  // namespace monarch::testing
