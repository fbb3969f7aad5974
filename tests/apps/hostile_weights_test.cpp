// `monarch generate` with weights that are damaged, foreign or meant to do harm: one line that says
// so, before any work, and nothing at the output's place.
#include <gtest/gtest.h>

#include <algorithm>

#include "monarch/io/checkpoint.h"
#include "monarch/io/safetensors.h"
#include "tests/apps/run_binary.h"
#include "tests/apps/tiny_model.h"
#include "tests/io/files.h"
#include "tests/io/zip_files.h"

namespace monarch::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

constexpr const char* kTransformer = "diffusion_pytorch_model.safetensors";
constexpr const char* kVae = "Wan2.1_VAE.safetensors";
constexpr const char* kText = "models_t5_umt5-xxl-enc-bf16.safetensors";

class HostileWeights : public ::testing::Test {
 protected:
  HostileWeights() { fs::copy(tiny_model(), model_, fs::copy_options::recursive); }

  std::string at(const std::string& file) const { return (fs::path(model_) / file).string(); }

  void replace(const std::string& file, const std::string& bytes) const {
    io::write_raw(at(file), bytes);
  }

  // Generates; expects failure with all of `parts` in its last line, which is the only one where
  // nothing was done before.
  void expect_failure(std::initializer_list<std::string_view> parts, int lines = 1) const {
    const std::string output = folder_ / "out.mp4";
    const RunResult run = run_monarch("generate --model '" + model_ +
                                      "' --prompt 'a red circle' --output '" + output + "'");
    EXPECT_EQ(run.exit_code, 1) << run.output;
    EXPECT_EQ(std::count(run.output.begin(), run.output.end(), '\n'), lines) << run.output;
    const std::string last = run.output.substr(run.output.rfind('\n', run.output.size() - 2) + 1);
    EXPECT_TRUE(last.starts_with("monarch: ")) << run.output;
    for (const std::string_view part : parts) {
      EXPECT_NE(last.find(part), std::string::npos) << part << "\nis not in\n" << run.output;
    }
    EXPECT_FALSE(fs::exists(output));
  }

  TemporaryFolder folder_;
  std::string model_ = folder_ / "model";
};

TEST_F(HostileWeights, Truncated) {
  fs::resize_file(at(kTransformer), fs::file_size(at(kTransformer)) - 10);
  expect_failure({kTransformer, "truncated"});
  fs::resize_file(at(kTransformer), 100);
  expect_failure({kTransformer, "truncated"});
  fs::resize_file(at(kTransformer), 0);
  expect_failure({kTransformer, "empty"});
}

TEST_F(HostileWeights, AHeaderOfFourGigabytes) {
  replace(kVae, "\0\0\0\0\1\0\0\0{}"s);
  expect_failure({kVae, "4294967296"});
}

TEST_F(HostileWeights, OverlappingAndOverflowingOffsets) {
  const auto tensor = [](const char* name, const char* shape, const char* offsets) {
    return str_cat('"', name, R"(":{"dtype":"F32","shape":)", shape, R"(,"data_offsets":)", offsets,
                   '}');
  };
  replace(kVae, io::safetensors_file(
                    "{" + tensor("a", "[4]", "[0,16]") + "," + tensor("b", "[4]", "[8,24]") + "}",
                    std::string(24, '\0')));
  expect_failure({kVae, "'b'"});
  replace(kVae, io::safetensors_file("{" + tensor("a", "[4611686018427387904,4]", "[0,16]") + "}",
                                     std::string(16, '\0')));
  expect_failure({kVae, "'a'", "overflows 64 bits"});
  replace(kVae, io::safetensors_file("{" + tensor("a", "[4]", "[0,18446744073709551615]") + "}",
                                     std::string(16, '\0')));
  expect_failure({kVae, "'a'"});
}

TEST_F(HostileWeights, DuplicateKeys) {
  const std::string one = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  replace(kVae, io::safetensors_file("{" + one + "," + one + "}", std::string(4, '\0')));
  expect_failure({kVae, "'a' occurs twice"});
}

TEST_F(HostileWeights, APickleThatCallsTheSystem) {
  fs::remove(at(kText));
  const std::string witness = folder_ / "was-run";
  const std::string command = "touch " + witness;
  std::string pickle = "\x80\2cposix\nsystem\n(X";
  io::append_number(pickle, std::uint32_t(command.size()));
  pickle += command + "tR.";
  replace("models_t5_umt5-xxl-enc-bf16.pth",
          io::zip_file({{"m/data.pkl", pickle}, {"m/byteorder", "little"}}));
  expect_failure({"models_t5_umt5-xxl-enc-bf16.pth", "posix.system"});
  EXPECT_FALSE(fs::exists(witness));
}

TEST_F(HostileWeights, AZipBomb) {
  fs::remove(at(kText));
  replace("models_t5_umt5-xxl-enc-bf16.pth",
          io::zip_file({{"m/data.pkl", std::string(50'000'000, '\0'), /*deflate=*/true},
                        {"m/byteorder", "little"}}));
  expect_failure({"models_t5_umt5-xxl-enc-bf16.pth", "m/data.pkl"});
}

TEST_F(HostileWeights, ForeignFiles) {
  replace(kTransformer, "<!DOCTYPE html><html>404</html>");
  expect_failure({kTransformer, "web page"});
  replace(kTransformer, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  expect_failure({kTransformer, "Git LFS pointer"});
}

TEST_F(HostileWeights, EverythingThatDoesNotFitAtOnce) {
  // The tiny transformer without one tensor and with another one cut; a stranger in the VAE.
  const auto change = [&](const char* file, auto edit) {
    const auto original = io::open_checkpoint(at(file));
    std::vector<io::TensorEntry> tensors = original->tensors();
    edit(tensors);
    io::write_safetensors(at(file), tensors);
  };
  change(kTransformer, [](std::vector<io::TensorEntry>& tensors) {
    std::erase_if(tensors, [](const auto& tensor) { return tensor.name == "head.head.bias"; });
    for (io::TensorEntry& tensor : tensors) {
      if (tensor.name != "blocks.1.norm3.bias") continue;
      tensor.shape = {24};
      tensor.bytes = tensor.bytes.first(tensor.bytes.size() / 2);
    }
  });
  change(kVae, [](std::vector<io::TensorEntry>& tensors) { tensors.front().name = "stranger"; });
  expect_failure({"do not fit the configuration",
                  "transformer: blocks.1.norm3.bias has the shape [24], expected [48], "
                  "head.head.bias [64] is missing;",
                  "VAE: stranger is not part of this model", "monarch verify"});
}

TEST_F(HostileWeights, NumbersThatAreNone) {
  // bfloat16: the last two bytes of a file become NaN.
  const auto spoil = [&](const char* file) {
    std::string bytes = io::read_raw(at(file));
    bytes.replace(bytes.size() - 2, 2, "\xC0\x7F");
    replace(file, bytes);
  };
  const std::string last = io::open_checkpoint(at(kTransformer))->tensors().back().name;
  spoil(kTransformer);
  expect_failure({"came out as NaN or infinity, because the weights do", last,
                  "in the transformer; download the file again"},
                 /*lines=*/2);  // the text is encoded before
}

TEST_F(HostileWeights, ModelsThatNeedAnImageEncoder) {
  replace("config.json", R"({"model_type": "i2v", "in_dim": 36, "dim": 5120})");
  expect_failure(
      {"is an image-to-video model (model_type i2v)", "CLIP encoder", "use a text-to-video model"});
}

TEST_F(HostileWeights, Configurations) {
  replace("config.json", "{");
  expect_failure({"config.json", "is not a JSON object"});
  replace("config.json", R"({"num_layers": 3, "dims": 48})");
  const RunResult run = run_monarch("generate --model '" + model_ + "' --prompt x --output '" +
                                    (folder_ / "out.mp4") + "'");
  EXPECT_NE(run.output.find("unknown key 'dims'"), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("did you mean 'dim'?"), std::string::npos) << run.output;
}

}  // namespace
}  // namespace monarch::testing
