#include <gtest/gtest.h>

#include <fstream>

#include "monarch/io/video.h"
#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string generate(const std::string& rest) {
  return "generate --model '" + tiny_model() + "' " + rest;
}

// A command that must fail: exit code and a part of the one line it prints.
struct BadCommand {
  const char* arguments;  // after `generate --model TINY`
  int exit_code;
  const char* message;
};

// What GoogleTest and CTest call a case.
void PrintTo(const BadCommand& command, std::ostream* out) { *out << command.arguments; }

class BadGenerate : public ::testing::TestWithParam<BadCommand> {};

TEST_P(BadGenerate, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const std::string output = folder / "out.mp4";
  const RunResult run =
      run_monarch(generate(std::string(GetParam().arguments) + " --output '" + output + "'"));
  EXPECT_EQ(run.exit_code, GetParam().exit_code) << run.output;
  EXPECT_NE(run.output.find(GetParam().message), std::string::npos) << run.output;
  EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  EXPECT_FALSE(fs::exists(output));
}

INSTANTIATE_TEST_SUITE_P(
    Messages, BadGenerate,
    ::testing::Values(
        BadCommand{"--promt x", 2, "unknown flag '--promt'; did you mean '--prompt'?"},
        BadCommand{"", 2, "there is nothing to show; give --prompt TEXT or --prompt-file FILE"},
        BadCommand{"--prompt ''", 2, "the prompt is empty"},
        BadCommand{"--prompt '  '", 2, "the prompt is empty"},
        BadCommand{"--prompt x --size 100x64", 2,
                   "width 100 is not a positive multiple of 16; use 96 or 112"},
        BadCommand{"--prompt x --size big", 2,
                   "--size big is not WIDTHxHEIGHT; for example 832x480"},
        BadCommand{"--prompt x --frames 8", 2,
                   "8 frames are not 1 more than a multiple of 4; use 5 or 9"},
        BadCommand{"--prompt x --attention monarchrt --h-reduce 5", 2,
                   "token height 6 is not divisible by h_reduce 5; use 1, 2, 3 or 6"},
        BadCommand{"--prompt x --attention monarchrt --f-tied 2", 2,
                   "the number of latent frames 3 is not divisible by f_tied 2; use 1 or 3"},
        BadCommand{"--prompt x --attention sparse", 2, "unknown attention preset 'sparse'"},
        BadCommand{"--prompt x --attention dense --f-tied 2", 2,
                   "have no meaning with --attention dense"},
        BadCommand{"--prompt x --frames -3", 2,
                   "-3 frames are not 1 more than a multiple of 4; use 1 or 5"},
        BadCommand{"--prompt x --frames 4000000001", 2, "4000000001 frames of 128x96 are too many"},
        BadCommand{"--prompt x --num_output_frames 0", 2, "--num_output_frames 0 is out of range"},
        BadCommand{"--prompt x --steps 0", 2, "0 steps were asked for; use 1 to 1000"},
        BadCommand{"--prompt x --solver ddim", 2,
                   "unknown solver 'ddim'; use unipc, dpm++ or euler"},
        BadCommand{"--prompt x --dtype f8", 2, "--dtype"},
        BadCommand{"--prompt x --device tpu", 2, "unknown device 'tpu'; use cpu or cuda"},
        BadCommand{"--prompt x --device cuda:x", 2, "unknown device 'cuda:x'; use cpu or cuda"},
        BadCommand{"--prompt x --vram 8GiB", 2,
                   "--vram limits a GPU's memory and has no meaning with --device cpu"},
        BadCommand{"--prompt x --vram lots", 2, "--vram"},
        BadCommand{"--prompt x --device cuda:100", 1, "--device cuda:100: no CUDA device: "},
        BadCommand{"--prompt x --seed many", 2, "--seed"},
        BadCommand{"--prompt-file /nonexistent.txt", 1, "/nonexistent.txt"},
        BadCommand{"--prompt x --config /nonexistent.yaml", 1, "/nonexistent.yaml"},
        BadCommand{"--prompt x --checkpoint /nonexistent.pt", 1, "/nonexistent.pt"},
        BadCommand{"--prompt x --image /nonexistent.png", 2, "need a causal model"}));

TEST(Cli, UsageErrorsSayWhatIsMissing) {
  struct Usage {
    const char* arguments;
    const char* message;
  };
  for (const Usage& usage :
       {Usage{"", "give a command: generate, inspect, convert, "},
        Usage{"genrate", "unknown command or argument 'genrate'; did you mean 'generate'?"},
        Usage{"bench", "give a command: attention, layer, text, vae, generate, train; see "},
        Usage{"bench generate --stps 3",
              "unknown flag '--stps'; did you mean '--steps'?; see monarch bench generate --help"},
        Usage{"verify", "missing 'folder'; see monarch verify --help"},
        Usage{"verify a b", "unknown command or argument 'b'; see monarch verify --help"},
        Usage{"generate --frames", "--frames needs an integer; see monarch generate --help"},
        Usage{"generate --frames many", "--frames many: an integer was expected; see monarch"},
        Usage{"generate --seed 1.5", "--seed 1.5: an integer of 0 or more was expected; see"},
        Usage{"generate --prompt a --prompt b", "--prompt was given 2 times; give it once; see"}}) {
    const RunResult run = run_monarch(usage.arguments);
    EXPECT_EQ(run.exit_code, 2) << run.output;
    EXPECT_NE(run.output.find(usage.message), std::string::npos) << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  }
}

TEST(Cli, FindsTheShapesModelFromAnyFolder) {
  const TemporaryFolder folder;
  const RunResult run = run_monarch("generate --prompt x --dry-run", folder.path().string());
  EXPECT_EQ(run.exit_code, 0) << run.output;
}

TEST(Cli, FewStepModelsTakeNoFlagsOfSolvers) {
  for (const char* flag : {"--steps 8", "--guidance 5", "--negative-prompt x", "--solver euler"}) {
    const RunResult run = run_monarch(std::string("generate --prompt x --dry-run ") + flag);
    EXPECT_EQ(run.exit_code, 2) << run.output;
    EXPECT_NE(run.output.find("has no meaning for a few-step model"), std::string::npos)
        << run.output;
    EXPECT_EQ(
        run_monarch(std::string("generate --model models/shapes --prompt x --dry-run ") + flag)
            .exit_code,
        0)
        << flag;
  }
  EXPECT_EQ(run_monarch("generate --prompt x --dry-run --guidance 1").exit_code, 0);
}

TEST(Cli, EveryCommandHasHelpWithAnExample) {
  for (const char* command : {"generate", "parity", "inspect", "convert", "verify", "init", "bench",
                              "train", "evaluate"}) {
    const RunResult run = run_monarch(std::string(command) + " --help");
    EXPECT_EQ(run.exit_code, 0) << command;
    EXPECT_NE(run.output.find("Example"), std::string::npos) << command << "\n" << run.output;
  }
}

TEST(Cli, UnknownConfigKeysNameTheNearest) {
  const TemporaryFolder folder;
  write_file(folder / "my.yaml", "sampling_step: 4\n");
  const RunResult run = run_monarch(generate("--prompt x --config '" + (folder / "my.yaml") + "'"));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("unknown key 'sampling_step'"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("did you mean 'sampling_steps'?"), std::string::npos) << run.output;
}

TEST(Cli, MissingModelNamesTheFiles) {
  const TemporaryFolder folder;
  const RunResult run = run_monarch("generate --prompt x --model '" + folder.path().string() + "'");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("config.json"), std::string::npos) << run.output;
}

TEST(Cli, SameSeedSameBits) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b", "c"}) {
    const RunResult run = run_monarch(
        generate(std::string("--prompt 'a red circle' --seed ") + (*name == 'c' ? "2" : "1") +
                 " --save-latents '" + (folder / (std::string(name) + ".safetensors")) +
                 "' --output '" + (folder / (std::string(name) + ".mp4")) + "'"));
    ASSERT_EQ(run.exit_code, 0) << run.output;
  }
  EXPECT_EQ(read_file(folder / "a.safetensors"), read_file(folder / "b.safetensors"));
  EXPECT_NE(read_file(folder / "a.safetensors"), read_file(folder / "c.safetensors"));
  const io::Video video = io::read_video(folder / "a.mp4");
  EXPECT_EQ(video.frames.size(), 9U);
  EXPECT_EQ(video.width, 128);
  EXPECT_EQ(video.height, 96);
}

TEST(Cli, EveryPresetAndOutputFormatRuns) {
  const TemporaryFolder folder;
  for (const char* attention : {"dense", "monarchrt --f-tied 3 --w-reduce 2", "vmonarch"}) {
    const RunResult run = run_monarch(generate(std::string("--prompt x --attention ") + attention +
                                               " --output '" + (folder / "frames") + "'"));
    EXPECT_EQ(run.exit_code, 0) << run.output;
  }
  EXPECT_TRUE(fs::exists(folder / "frames/frame_00008.png"));
  EXPECT_EQ(run_monarch(generate("--prompt x --output '" + (folder / "a.gif") + "'")).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder / "a.gif"));
}

TEST(Cli, StartsFromAnImage) {
  const TemporaryFolder folder;
  ASSERT_EQ(run_monarch(generate("--prompt x --frames 1 --output '" + (folder / "first") + "'"))
                .exit_code,
            0);
  write_file(folder / "causal.yaml",
             "causal: true\ndenoising_step_list: [1000, 500]\nnum_frame_per_block: 2\n");
  const std::string causal = "--prompt x --config '" + (folder / "causal.yaml") +
                             "' --i2v --image '" + (folder / "first/frame_00000.png") +
                             "' --output '" + (folder / "a.mp4") + "'";
  // The image and chunks of two latent frames.
  const RunResult wrong = run_monarch(generate(causal + " --frames 13"));
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.output.find("4 latent frames (13 frames) do not divide into one frame and chunks "
                              "of 2; use 9 or 17 frames"),
            std::string::npos)
      << wrong.output;
  const RunResult run = run_monarch(generate(causal + " --frames 17"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(io::read_video(folder / "a.mp4").frames.size(), 17U);
}

TEST(Cli, FilesOfOnePromptAreNotForMany) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt", "a\nb\n");
  const RunResult run =
      run_monarch(generate("--prompt-file '" + (folder / "prompts.txt") + "' --save-latents '" +
                           (folder / "l.safetensors") + "' --output '" + (folder / "a.mp4") + "'"));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_NE(run.output.find("--save-latents is for one prompt, but there are 2"), std::string::npos)
      << run.output;
}

TEST(Cli, PromptFilesMakeOneVideoALine) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt", "a red circle\n\na/b\n");
  const RunResult run =
      run_monarch(generate("--data_path '" + (folder / "prompts.txt") + "' --output_folder '" +
                           (folder / "out") + "' --num_samples 2"));
  ASSERT_EQ(run.exit_code, 0) << run.output;
  for (const char* name : {"a red circle-0.mp4", "a red circle-1.mp4", "a_b-0.mp4", "a_b-1.mp4"}) {
    EXPECT_TRUE(fs::exists(fs::path(folder / "out") / name)) << name;
  }
}

TEST(Cli, VideosGoIntoTheFolderThatOutputNames) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt", "one\ntwo\n");
  fs::create_directory(folder / "there");
  for (const std::string& arguments :
       {"--prompt-file '" + (folder / "prompts.txt") + "' --output '" + (folder / "there") + "'",
        "--prompt one --output '" + (folder / "new/") + "'"}) {
    const RunResult run = run_monarch(generate(arguments));
    ASSERT_EQ(run.exit_code, 0) << run.output;
  }
  for (const char* name : {"there/one-0.mp4", "there/two-0.mp4", "new/one-0.mp4"}) {
    EXPECT_TRUE(fs::exists(folder / name)) << name;
  }
}

TEST(Cli, EmbeddingsAndLatentsCanBeReused) {
  const TemporaryFolder folder;
  const std::string text = folder / "text.safetensors";
  const std::string latents = folder / "latents.safetensors";
  ASSERT_EQ(run_monarch(generate("--prompt 'a red circle' --save-embeddings '" + text +
                                 "' --save-latents '" + latents + "' --output '" +
                                 (folder / "a.mp4") + "'"))
                .exit_code,
            0);
  const RunResult again = run_monarch(
      generate("--prompt other --embeddings '" + text + "' --save-latents '" +
               (folder / "again.safetensors") + "' --output '" + (folder / "b.mp4") + "'"));
  ASSERT_EQ(again.exit_code, 0) << again.output;
  EXPECT_EQ(read_file(latents), read_file(folder / "again.safetensors"));
  const RunResult decoded =
      run_monarch(generate("--latents '" + latents + "' --output '" + (folder / "c.mp4") + "'"));
  ASSERT_EQ(decoded.exit_code, 0) << decoded.output;
  EXPECT_EQ(read_file(folder / "a.mp4"), read_file(folder / "c.mp4"));
}

TEST(Cli, DryRunMakesNothing) {
  const TemporaryFolder folder;
  const RunResult run =
      run_monarch(generate("--prompt x --dry-run --output '" + (folder / "a.mp4") + "'"));
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("peak about"), std::string::npos) << run.output;
  EXPECT_FALSE(fs::exists(folder / "a.mp4"));
}

TEST(Cli, UnwritablePlacesAreFoundBeforeTheWork) {
  const RunResult run = run_monarch(generate("--prompt x --output /proc/nowhere/a.mp4"));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("/proc/nowhere"), std::string::npos) << run.output;
}

TEST(Cli, ParityOfAnEmptyFolderFails) {
  const TemporaryFolder folder;
  const RunResult run = run_monarch("parity '" + folder.path().string() + "'");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_TRUE(run.output.ends_with("0 passed, 1 failed\n")) << run.output;
}

TEST(Cli, ParitySaysWhatAttentionRanOn) {
  const std::string cases = "parity tests/fixtures/attention";
  const RunResult kernels = run_monarch(cases);
  EXPECT_EQ(kernels.exit_code, 0) << kernels.output;
  for (const char* line : {"\ndense forward: cpu-", "\nmonarchrt forward: cpu-",
                           "\nmonarchrt backward: cpu-", "\nvmonarch forward: cpu-"})
    EXPECT_NE(kernels.output.find(line), std::string::npos) << line << "\n" << kernels.output;
  setenv("MONARCH_ATTENTION", "composed", 1);
  const RunResult composed = run_monarch(cases);
  unsetenv("MONARCH_ATTENTION");
  EXPECT_EQ(composed.exit_code, 0) << composed.output;
  EXPECT_NE(composed.output.find("(MONARCH_ATTENTION=composed)"), std::string::npos);
  EXPECT_EQ(composed.output.find("cpu-"), std::string::npos) << composed.output;
}

TEST(Cli, ParityFailsOnWhatItCannotReplay) {
  const TemporaryFolder folder;
  write_file(folder / "cut.safetensors", read_file(fs::path(MONARCH_SOURCE_DIR) /
                                                   "tests/fixtures/wan/sinusoidal_64.safetensors")
                                             .substr(0, 300));
  const RunResult run = run_monarch("parity '" + folder.path().string() + "'");
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.output.find("FAIL"), std::string::npos) << run.output;
}

}  // namespace
}  // namespace monarch::testing
