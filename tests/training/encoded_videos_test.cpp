#include "monarch/training/data/encoded_videos.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "monarch/io/image.h"
#include "monarch/io/video.h"
#include "tests/support/message_of.h"

namespace monarch::training {
namespace {

namespace fs = std::filesystem;

class EncodedVideosTest : public ::testing::Test {
 protected:
  EncodedVideosTest()
      : folder_(fs::temp_directory_path() / ("monarch_videos_" + std::to_string(getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~EncodedVideosTest() override { fs::remove_all(folder_); }

  void add_image(const std::string& name, const std::string& prompt, std::uint8_t gray) {
    io::write_png(folder_ / (name + ".png"), 16, 16, std::vector<std::uint8_t>(16 * 16 * 3, gray));
    std::ofstream(folder_ / (name + ".txt")) << prompt;
  }
  fs::path folder_;
  VideoSize image_{.width = 16, .height = 16, .frames = 1};
};

TEST_F(EncodedVideosTest, ShapesClipsAreAFunctionOfSeedAndNumber) {
  const VideoSize size{.width = 64, .height = 48, .frames = 5};
  const auto clips = clips_of_shapes(3, 9, size), same = clips_of_shapes(2, 9, size);
  EXPECT_EQ(clips[1].prompt, same[1].prompt);
  EXPECT_TRUE(clips[1].pixels().equal(same[1].pixels()));
  EXPECT_EQ(clips[2].pixels().sizes(), at::IntArrayRef({1, 3, 5, 48, 64}));
}

TEST_F(EncodedVideosTest, SaysWhichPromptIsMissing) {
  EXPECT_EQ(message_of([&] { clips_of_folder(folder_, image_); }),
            "[monarch_training] " + folder_.string() + " has no images (.png, .jpg, .webp)");
  add_image("a", "one", 0);
  fs::remove(folder_ / "a.txt");
  EXPECT_EQ(message_of([&] { clips_of_folder(folder_, image_); }),
            "[monarch_training] " + (folder_ / "a.png").string() +
                " has no prompt; write it into a.txt beside it");
}

TEST_F(EncodedVideosTest, ImagesAreClipsInTheOrderOfNames) {
  if (!io::has_ffmpeg()) GTEST_SKIP() << "reading images needs FFmpeg";
  add_image("b", "second\nmore", 255);
  add_image("a", "first", 0);
  const auto clips = clips_of_folder(folder_, image_);
  ASSERT_EQ(clips.size(), 2U);
  EXPECT_EQ(clips[0].prompt, "first");
  EXPECT_EQ(clips[1].prompt, "second");
  EXPECT_TRUE(clips[0].pixels().equal(at::full({1, 3, 1, 16, 16}, -1.0F)));
  EXPECT_TRUE(clips[1].pixels().equal(at::full({1, 3, 1, 16, 16}, 1.0F)));
}

}  // namespace
}  // namespace monarch::training
