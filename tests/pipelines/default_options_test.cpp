#include "monarch/pipelines/default_options.h"

#include <gtest/gtest.h>

#include <fstream>

#include "monarch/pipelines/run_config.h"
#include "tests/pipelines/tiny_system.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

// Adds keys to a JSON file.
void amend(const fs::path& file, const Json& keys) {
  Json config = Json::parse(std::ifstream(file));
  config.update(keys);
  std::ofstream(file) << config.dump();
}

const Json kRules = Json::parse(R"([{"preset": "monarchrt", "layers": 1, "f_tied": 3}])");

class DefaultOptions : public testing::Test {
 protected:
  void SetUp() override { write_tiny_system(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  const fs::path folder_ = fresh_folder("defaults");
};

TEST_F(DefaultOptions, AreThoseOfNoFolderWithoutSettings) {
  EXPECT_EQ(attention_name(default_options(folder_)), "dense");
  EXPECT_EQ(default_options(folder_).num_frame_per_block, GenerationOptions().num_frame_per_block);
}

TEST_F(DefaultOptions, ComeFromTheTransformersConfig) {
  amend(folder_ / "config.json", {{"monarch", {{"enable", true}, {"w_reduce", 2}}},
                                  {"attention", kRules},
                                  {"num_frame_per_block", 3},
                                  {"independent_first_frame", true},
                                  {"local_attn_size", 9},
                                  {"sink_size", 3},
                                  {"relative_sink", true}});
  const GenerationOptions options = default_options(folder_);
  EXPECT_EQ(options.attention, AttentionPreset::kMonarchRt);
  EXPECT_EQ(options.monarch.w_reduce, 2);
  ASSERT_EQ(options.attention_rules.size(), 1U);
  EXPECT_EQ(attention_name(options), "hybrid");
  EXPECT_EQ(options.num_frame_per_block, 3);
  EXPECT_TRUE(options.independent_first_frame);
  EXPECT_EQ(options.local_attn_size, 9);
  EXPECT_EQ(options.sink_size, 3);
  EXPECT_TRUE(options.relative_sink);
  // And reach the model.
  const models::WanConfig config = run_config(WanSystem(folder_), options);
  EXPECT_TRUE(config.relative_sink);
  ASSERT_EQ(config.attention.size(), 1U);
  EXPECT_EQ(config.attention[0].attention.monarch.f_tied, 3);
}

TEST_F(DefaultOptions, VMonarchToo) {
  amend(folder_ / "config.json", {{"vmonarch", {{"num_iters", 4}}}});
  EXPECT_EQ(default_options(folder_).attention, AttentionPreset::kVMonarch);
  EXPECT_EQ(default_options(folder_).vmonarch.num_iters, 4);
}

TEST_F(DefaultOptions, GenerateYamlComesLast) {
  amend(folder_ / "config.json", {{"attention", kRules}, {"num_frame_per_block", 3}});
  std::ofstream(folder_ / "generate.yaml") << "num_frame_per_block: 2\n";
  EXPECT_EQ(default_options(folder_).num_frame_per_block, 2);
  EXPECT_EQ(default_options(folder_).attention_rules.size(), 1U);
  std::ofstream(folder_ / "generate.yaml") << "attention: []\n";
  EXPECT_TRUE(default_options(folder_).attention_rules.empty());
}

TEST_F(DefaultOptions, DiffusersFoldersHaveThemToo) {
  const fs::path theirs = fresh_folder("diffusers_defaults");
  write_tiny_diffusers_system(theirs);
  amend(theirs / "transformer" / "config.json", {{"attention", kRules}});
  EXPECT_EQ(default_options(theirs).attention_rules.size(), 1U);
}

TEST_F(DefaultOptions, NameTheFileThatIsWrong) {
  const fs::path file = folder_ / "config.json";
  amend(file, {{"attention", Json::parse(R"([{"preset": "sparse"}])")}});
  EXPECT_EQ(message_of([&] { default_options(folder_); }),
            "[config] " + file.string() +
                ".attention[0].preset is 'sparse'; use dense, monarchrt or vmonarch");
  EXPECT_EQ(message_of([] { default_options("/nowhere"); }),
            "[monarch_models] there is no model folder /nowhere; download one like "
            "Wan2.1-T2V-1.3B and give its folder");
}

}  // namespace
}  // namespace monarch::pipelines
