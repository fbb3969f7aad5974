// What a machine can refuse while `monarch generate` works: disk, memory, places, patience. Nothing
// half-written may stay under the final name.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

#include "monarch/io/video.h"
#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"
#include "tests/io/files.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;

std::string generate_circle(const std::string& rest) {
  return "generate --model '" + tiny_model() + "' --prompt 'a red circle' " + rest;
}

void expect_parts(const RunResult& run, int exit_code,
                  std::initializer_list<std::string_view> parts) {
  EXPECT_EQ(run.exit_code, exit_code) << run.output;
  for (const std::string_view part : parts) {
    EXPECT_NE(run.output.find(part), std::string::npos) << part << "\nis not in\n" << run.output;
  }
}

// Names in a folder, hidden ones too.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) names.push_back(item.path().filename());
  return names;
}

// ulimit -f counts blocks of 512 bytes.
TEST(Failures, AFileThatMayNotGrow) {
  const TemporaryFolder folder;
  const std::string output = folder / "a.gif";
  // Neither the latents nor the video fit.
  const RunResult early =
      run_monarch(generate_circle("--output '" + output + "'"), MONARCH_SOURCE_DIR, "ulimit -f 2");
  expect_parts(early, 1, {"cannot write", "a.gif.latents.safetensors", "File too large"});
  EXPECT_TRUE(names_in(folder.path()).empty());
  // The latents fit, the video does not: the work is kept, and the way on is told.
  const RunResult late =
      run_monarch(generate_circle("--output '" + output + "'"), MONARCH_SOURCE_DIR, "ulimit -f 90");
  expect_parts(late, 1,
               {"cannot write", output, "File too large",
                "the latents are in " + output +
                    ".latents.safetensors; to decode them: monarch "
                    "generate --model"});
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.gif.latents.safetensors"});
  const RunResult resumed = run_monarch("generate --model '" + tiny_model() + "' --latents '" +
                                        output + ".latents.safetensors' --output '" + output + "'");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_TRUE(fs::exists(output));
}

TEST(Failures, AFullDisk) {
  const TemporaryFolder folder;
  const fs::path disk = folder.path() / "disk";
  fs::create_directory(disk);
  const std::string in_namespace = "unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=";
  if (std::system((in_namespace + "64k none " + disk.string() + "' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "this machine lets nobody mount a small disk";
  const auto on_disk = [&](const std::string& size, const std::string& output) {
    const std::string script = folder / "run.sh";
    io::write_raw(script, "mount -t tmpfs -o size=" + size + " none '" + disk.string() + "'\n'" +
                              MONARCH_BINARY "' " + generate_circle("--output '" + output + "'") +
                              "\ncode=$?\nls -A '" + disk.string() + "'\nexit $code\n");
    return run_shell("unshare --map-root-user --mount sh '" + script + "' 2>&1");
  };
  const std::string output = (disk / "a.gif").string();
  const RunResult early = on_disk("8k", output);
  expect_parts(early, 1, {"cannot write", "No space left on device; free some space"});
  const RunResult late = on_disk("64k", output);
  expect_parts(late, 1,
               {"cannot write " + output, "No space left on device; free some space",
                "to decode them: monarch generate"});
  EXPECT_TRUE(late.output.ends_with("\na.gif.latents.safetensors\n")) << late.output;
}

TEST(Failures, PlacesThatCannotBeWritten) {
  const TemporaryFolder folder;
  io::write_raw(folder / "file", "x");
  fs::create_directory(folder / "folder.mp4");
  struct Place {
    std::string output, part;
    int exit_code = 1;
  };
  for (const Place& place :
       {Place{"/proc/nowhere/a.mp4", "cannot make the folder /proc/nowhere"},
        Place{"/proc/a.mp4", "cannot write /proc/a.mp4"},
        Place{folder / "file/a.mp4", "cannot make the folder"},
        Place{folder / "folder.mp4", "it is a folder"}, Place{folder / "file", "it is a file"},
        Place{"/dev/full", "cannot write"}, Place{folder / "a.avi", "ending in .mp4 or .gif", 2}}) {
    const RunResult run = run_monarch(generate_circle("--output '" + place.output + "'"));
    expect_parts(run, place.exit_code, {place.part});
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), 1) << run.output;
  }
}

TEST(Failures, MemoryThatIsNotThere) {
  const TemporaryFolder folder;
  const std::string output = folder / "a.mp4";
  const RunResult run =
      run_monarch(generate_circle("--size 8192x8192 --frames 801 --output '" + output + "'"),
                  MONARCH_SOURCE_DIR, "ulimit -v 8000000");
  expect_parts(run, 1,
               {"out of memory: ", " at once could not be had; use --low-memory, --dtype bf16"});
  EXPECT_EQ(run.output.find("internal error"), std::string::npos) << run.output;
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(Failures, CtrlCKeepsWhatIsDone) {
  const TemporaryFolder folder;
  const std::string output = folder / "a.mp4";
  const std::string latents = output + ".latents.safetensors";
  io::write_raw(folder / "causal.yaml",
                "causal: true\ndenoising_step_list: [1000, 500]\nnum_frame_per_block: 1\n"
                "width: 128\nheight: 96\nnum_frames: 2001\n");
  // A latent frame has 16 x 12 x 16 floats; four of them: at least three chunks are decoded.
  const auto four_chunks = [&] {
    std::error_code ignored;
    const auto size = fs::file_size(latents, ignored);
    return !ignored && size > 4UL * 16 * 12 * 16 * 4;
  };
  const RunResult run = run_monarch_and_signal(
      generate_circle("--config '" + (folder / "causal.yaml") + "' --output '" + output + "'"),
      four_chunks, SIGINT);
  expect_parts(run, 1,
               {"interrupted; the ", " frames made so far are in " + output,
                "the latents are in " + latents + "; to decode them"});
  const std::size_t num_frames = io::read_video(output).frames.size();
  EXPECT_GE(num_frames, 9U);
  EXPECT_NE(run.output.find("the " + std::to_string(num_frames) + " frames"), std::string::npos)
      << run.output;
  std::vector<std::string> names = names_in(folder.path());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a.mp4", "a.mp4.latents.safetensors", "causal.yaml"}));
}

}  // namespace
}  // namespace monarch::testing
