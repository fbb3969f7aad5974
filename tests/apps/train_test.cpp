// `monarch train --config` as its users run it: killed, resumed, out of disk.
#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kIterations = 8;

// A folder with a small Self-Forcing run: Monarch attention, videos of 6 or 9 latent frames.
class Train : public ::testing::Test {
 protected:
  Train() {
    std::ofstream(folder_ / "prompts.txt") << "a red circle\na blue square\nsome dog\n";
    write_config("lr: 1.0e-3");
  }

  void write_config(const std::string& more) {
    std::ofstream(folder_ / "dmd.yaml")
        << tiny_distillation(folder_ / "prompts.txt")
        << "num_training_frames: 9\nema_weight: 0.9\nema_start_step: 3\n"
           "dfake_gen_update_ratio: 2\nlog_iters: 1\n"
        << more << "\n";
  }
  std::string arguments(const std::string& run, const std::string& more = "",
                        int iterations = kIterations) const {
    return "train --config '" + (folder_ / "dmd.yaml") + "' --logdir '" + (folder_ / run) +
           "' --iterations " + std::to_string(iterations) + " " + more;
  }
  fs::path checkpoint(const std::string& run, int step) const {
    return fs::path(folder_ / run) / ("checkpoint_model_00000" + std::to_string(step));
  }
  static std::string content(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TemporaryFolder folder_;
};

TEST_F(Train, KilledAtAnyMomentItGoesOnToTheSameBits) {
  const RunResult whole = run_monarch(arguments("whole"));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  // Later and later after the start: while it loads, trains, or writes a checkpoint.
  int kills = 0;
  for (int delay = 10; delay <= 80; delay += 7) {
    const RunResult run = run_monarch_and_signal(
        arguments("killed", fs::exists(checkpoint("killed", 1)) ? "--resume" : ""),
        [delay, asked = 0]() mutable { return ++asked > delay; }, SIGKILL);
    if (run.exit_code != 0) ++kills;
    if (fs::exists(checkpoint("killed", kIterations))) break;
  }
  EXPECT_GT(kills, 0);
  run_monarch(arguments("killed", fs::exists(checkpoint("killed", 1)) ? "--resume" : ""));
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string expected = content(checkpoint("whole", kIterations) / file);
    ASSERT_FALSE(expected.empty());
    EXPECT_TRUE(content(checkpoint("killed", kIterations) / file) == expected) << file;
  }
}

TEST_F(Train, AFullDiskLosesNothing) {
  ASSERT_EQ(run_monarch(arguments("run", "", 2)).exit_code, 0);
  const RunResult full =
      run_monarch(arguments("run", "--resume"), MONARCH_SOURCE_DIR, "ulimit -f 64");
  EXPECT_EQ(full.exit_code, 1) << full.output;
  EXPECT_NE(full.output.find("cannot write"), std::string::npos) << full.output;
  EXPECT_FALSE(fs::exists(checkpoint("run", 3)));
  const RunResult resumed = run_monarch(arguments("run", "--resume"));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_NE(resumed.output.find("checkpoint_model_000002 after 2 iterations"), std::string::npos);
}

TEST_F(Train, TeacherAndCriticHaveAnAttentionOfTheirOwn) {
  const auto losses = [&](const std::string& run) {
    EXPECT_EQ(run_monarch(arguments(run, "", 1)).exit_code, 0);
    const auto metrics = nlohmann::json::parse(content(fs::path(folder_ / run) / "metrics.jsonl"));
    return std::pair<double, double>(metrics.at("generator_loss"), metrics.at("critic_loss"));
  };
  const auto dense = losses("dense");
  write_config("score_monarch_args: {enable: true}");
  const auto monarch = losses("monarch");
  EXPECT_NE(monarch.first, dense.first);
  EXPECT_NE(monarch.second, dense.second);
}

// LibTorch's are many times slower than float32 where the CPU has none.
TEST_F(Train, MixedPrecisionComputesInFloat32WithoutProductsOfBfloat16) {
  std::string config = content(fs::path(folder_ / "dmd.yaml"));
  const std::string off = "mixed_precision: false";
  config.replace(config.find(off), off.size(), "mixed_precision: true");
  std::ofstream(folder_ / "dmd.yaml") << config;
  const RunResult run = run_monarch(arguments("run", "", 1));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const bool told = run.output.find("computing in float32") != std::string::npos;
  EXPECT_EQ(told, content("/proc/cpuinfo").find(" avx512_bf16") == std::string::npos);
}

TEST_F(Train, ItsCheckpointGenerates) {
  ASSERT_EQ(run_monarch(arguments("run", "", 1)).exit_code, 0);
  const RunResult made = run_monarch(
      "generate --model '" + tiny_model() + "' --checkpoint '" + checkpoint("run", 1).string() +
      "' --use_ema --prompt x --size 32x32 --frames 9 -o '" + (folder_ / "frames") + "'");
  EXPECT_EQ(made.exit_code, 0) << made.output;
}

// A folder of its own does what configuration and checkpoint do together.
TEST_F(Train, ItsCheckpointBecomesAModelFolder) {
  write_config("causal: true\nfps: 12");
  ASSERT_EQ(run_monarch(arguments("run")).exit_code, 0);
  const std::string config = "--config '" + (folder_ / "dmd.yaml") + "' ";
  const std::string weights = "'" + checkpoint("run", kIterations).string() + "' ";
  const auto convert = [&](const std::string& name, const std::string& more) {
    const RunResult run =
        run_monarch("convert " + weights + "'" + (folder_ / name) + "' " + config + more);
    EXPECT_EQ(run.exit_code, 0) << run.output;
  };
  const auto latents = [&](const std::string& model, const std::string& name) {
    const std::string file = folder_ / (name + ".latents");
    const RunResult run =
        run_monarch("generate " + model + " --prompt x --json -o '" + (folder_ / (name + ".gif")) +
                    "' --save-latents '" + file + "'");
    EXPECT_EQ(run.exit_code, 0) << run.output;
    const auto report = nlohmann::json::parse(run.output);
    EXPECT_EQ(report["mode"], "self-forcing");
    EXPECT_EQ(report["attention"], "monarchrt");
    EXPECT_EQ(report["frames"], 9);
    return content(file);
  };
  convert("averaged", "--use-ema");
  convert("raw", "");
  convert("half", "--use-ema --dtype float16");
  const std::string torch_file = "'" + (folder_ / "run.pt") + "' ";
  ASSERT_EQ(run_monarch("convert " + weights + torch_file).exit_code, 0);
  ASSERT_EQ(run_monarch("convert " + torch_file + "'" + (folder_ / "of_torch") + "' " + config +
                        "--use-ema")
                .exit_code,
            0);
  const std::string expected =
      latents(config + "--checkpoint " + weights + "--use-ema", "from_checkpoint");
  EXPECT_FALSE(expected.empty());
  EXPECT_TRUE(latents("--model '" + (folder_ / "averaged") + "'", "averaged") == expected);
  EXPECT_TRUE(latents("--model '" + (folder_ / "of_torch") + "'", "of_torch") == expected);
  EXPECT_FALSE(latents("--model '" + (folder_ / "raw") + "'", "raw") == expected);
  latents("--model '" + (folder_ / "half") + "'", "half");
  const auto bytes = [&](const char* model) {
    return static_cast<double>(
        fs::file_size(fs::path(folder_ / model) / "diffusion_pytorch_model.safetensors"));
  };
  EXPECT_LT(bytes("half"), 0.75 * bytes("averaged"));
  EXPECT_EQ(run_monarch("verify '" + (folder_ / "half") + "'").exit_code, 0);

  const auto fails = [&](const std::string& command, const std::string& message) {
    const RunResult run = run_monarch("convert " + weights + command);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_NE(run.output.find(message), std::string::npos) << run.output;
  };
  fails("'" + (folder_ / "raw") + "' " + config, "is there already");
  fails("'" + (folder_ / "x") + "' " + config + "--dtype f7", "unknown --dtype f7");
  fails("'" + (folder_ / "x") + "' " + config + "--model models/shapes", "do not fit");
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

TEST_F(Train, MakesValidationVideosThatChangeNothing) {
  ASSERT_EQ(run_monarch(arguments("plain", "", 2)).exit_code, 0);
  write_config("lr: 1.0e-3\nvalidation_prompts_file: " + (folder_ / "prompts.txt") +
               "\nvalidate_iters: 1\nvalidate_first_n: 2");
  const RunResult run = run_monarch(arguments("shown", "", 2));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const fs::path videos = fs::path(folder_ / "shown") / "validation_videos" / "step_000001";
  EXPECT_EQ(std::distance(fs::directory_iterator(videos), {}), 2) << run.output;
  EXPECT_TRUE(content(checkpoint("plain", 2) / "model.safetensors") ==
              content(checkpoint("shown", 2) / "model.safetensors"));
}

// On the CPU offloading moves nothing, but goes the same way.
TEST_F(Train, OffloadingChangesNothing) {
  ASSERT_EQ(run_monarch(arguments("plain", "", 2)).exit_code, 0);
  write_config("lr: 1.0e-3\ncpu_offload_all: true\ntext_encoder_cpu_offload: true");
  const RunResult run = run_monarch(arguments("offloaded", "", 2));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_TRUE(content(checkpoint("plain", 2) / "model.safetensors") ==
              content(checkpoint("offloaded", 2) / "model.safetensors"));
}

TEST_F(Train, SaysWhatIsWrong) {
  const auto fails = [&](const std::string& arguments, const std::string& message) {
    const RunResult run = run_monarch(arguments);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_NE(run.output.find(message), std::string::npos) << run.output;
  };
  fails("train", "give either --config FILE.yaml, a recipe's configuration, or 'shapes'");
  fails("train shapes", "shapes needs --stage");
  fails("train --config nowhere.yaml", "nowhere.yaml");
  write_config("lr_citric: 1");
  fails(arguments("run"), "unknown key 'lr_citric' in dmd.yaml");
  write_config("");
  std::ofstream(folder_ / "prompts.txt") << "";
  fails(arguments("run"), "has no prompts; give a text file with one prompt a line");
  std::ofstream(folder_ / "prompts.txt") << "good\n\xff\n";
  fails(arguments("run"), "UTF-8");
}

// Two processes as torchrun starts them.
TEST_F(Train, TwoProcessesTrainOneModel) {
  auto both = run_two_processes(arguments("two", "", 3));
  ASSERT_EQ(both[0].exit_code, 0) << both[0].output << both[1].output;
  EXPECT_TRUE(fs::exists(checkpoint("two", 3)));
  both = run_two_processes(arguments("two", "--resume", 5));
  ASSERT_EQ(both[0].exit_code, 0) << both[0].output << both[1].output;
  EXPECT_TRUE(fs::exists(checkpoint("two", 5)));
  // Where there is nothing to resume, both say so.
  std::ofstream(checkpoint("two", 5) / "model.safetensors") << "damaged";
  fs::remove_all(checkpoint("two", 4));
  for (int step = 1; step <= 3; ++step) fs::remove_all(checkpoint("two", step));
  both = run_two_processes(arguments("two", "--resume", 6));
  EXPECT_NE(both[0].exit_code, 0);
  for (const RunResult& one : both) {
    EXPECT_NE(one.output.find("has no whole checkpoint to resume"), std::string::npos)
        << one.output;
  }
}

// Two machines, as far as the network can tell: each process has interfaces of its own.
TEST_F(Train, TwoNetworkNamespacesTrainOneModel) {
  const std::string setup =
      "set -e; mount -t tmpfs none /run; mkdir /run/netns; ip netns add far; "
      "ip link add near type veth peer name far netns far; ip address add 10.77.0.1/24 dev near; "
      "ip -n far address add 10.77.0.2/24 dev far; for i in lo near; do ip link set $i up; done; "
      "for i in lo far; do ip -n far link set $i up; done; ";
  const auto inside = [&](const std::string& script) {
    std::ofstream(folder_ / "script.sh") << setup << script;
    return run_shell("unshare --user --map-root-user --net --mount bash '" +
                     (folder_ / "script.sh") + "' 2>&1");
  };
  if (inside("true").exit_code != 0) GTEST_SKIP() << "no network namespaces here";
  const std::string train = " timeout 120 '" MONARCH_BINARY "' " + arguments("two", "", 2);
  const fs::path second = folder_ / "second.txt";
  const RunResult result =
      inside("cd '" MONARCH_SOURCE_DIR
             "'; export OMP_NUM_THREADS=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=1 LOCAL_RANK=0 "
             "MASTER_ADDR=10.77.0.1 MASTER_PORT=29500\n"
             "RANK=1 ip netns exec far" +
             train + " >'" + second.string() + "' 2>&1 &\nRANK=0" + train + "; wait");
  EXPECT_EQ(result.exit_code, 0) << result.output << content(second);
  EXPECT_TRUE(fs::exists(checkpoint("two", 2))) << result.output << content(second);
}

}  // namespace
}  // namespace monarch::testing
