// H.264 with a wish for NVENC; none of these tests needs a GPU.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "monarch/base/log.h"
#include "monarch/io/ffmpeg_h264.h"
#include "monarch/io/live_video.h"
#include "monarch/io/video.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

constexpr int kWidth = 160, kHeight = 96;

std::vector<std::uint8_t> frame(int index) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(kWidth * kHeight * 3));
  for (std::size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<std::uint8_t>(i / 3 + static_cast<std::size_t>(index) * (i % 3) * 5);
  return rgb;
}

bool nvenc_opens() {
  ffmpeg::Codec codec;
  ffmpeg::open_h264({.width = kWidth, .height = kHeight, .fps = 16, .gpu_encoder = true}, codec);
  return codec && std::string(codec->codec->name) == "h264_nvenc";
}

class NvencTest : public testing::Test {
 protected:
  void SetUp() override {
    set_log_sink([this](LogLevel level, std::string_view line) {
      if (level > LogLevel::kDebug) lines_.emplace_back(line);
    });
  }
  void TearDown() override { set_log_sink({}); }

  std::string write(const std::string& name, bool gpu_encoder) {
    const auto writer = open_video_writer(folder_ / name, kWidth, kHeight, 16, gpu_encoder);
    for (int i = 0; i < 5; ++i) writer->write(frame(i));
    writer->finish();
    return read_raw(folder_ / name);
  }
  static std::string stream(bool gpu_encoder) {
    FragmentedMp4 mp4({.width = kWidth, .height = kHeight, .fps = 16, .gpu_encoder = gpu_encoder});
    std::string bytes = mp4.mime_type();
    for (int i = 0; i < 6; ++i) {
      mp4.write(frame(i));
      if (i % 2 == 1) bytes += mp4.take();
    }
    return bytes;
  }

  TemporaryFolder folder_;
  std::vector<std::string> lines_;
};

TEST_F(NvencTest, WithoutItTheBytesAreTheOthers) {
  if (nvenc_opens()) GTEST_SKIP() << "NVENC runs here; nothing falls back";
  EXPECT_EQ(write("a.mp4", true), write("b.mp4", false));
  EXPECT_EQ(stream(true), stream(false));
}

TEST_F(NvencTest, TheLogSaysOnceWhichEncoderRunsAndWhy) {
  const auto open = [](int width, int height) {
    const FragmentedMp4 mp4({.width = width, .height = height, .fps = 16, .gpu_encoder = true});
  };
  open(144, 96);
  open(144, 96);
  open(160, 48);
  ASSERT_EQ(lines_.size(), 2U);
  EXPECT_TRUE(
      lines_[0].ends_with(", not by h264_nvenc: it takes 145x49 pixels or more, but the "
                          "video has 144x96"))
      << lines_[0];
  EXPECT_TRUE(lines_[1].ends_with("160x48")) << lines_[1];
  open(kWidth, kHeight);
  ASSERT_EQ(lines_.size(), 3U);
  EXPECT_TRUE(lines_[2].starts_with("H.264 is encoded by ")) << lines_[2];
  EXPECT_FALSE(lines_[2].ends_with(": ")) << lines_[2];
  open(144, 96);  // so that this test may be repeated
}

TEST_F(NvencTest, WithoutAWishNothingIsLogged) {
  write("a.mp4", false);
  stream(false);
  EXPECT_EQ(lines_, std::vector<std::string>{});
}

// FFmpeg passes over settings that an encoder does not know.
TEST_F(NvencTest, TheEncoderKnowsItsSettings) {
  const AVCodec* encoder = avcodec_find_encoder_by_name("h264_nvenc");
  if (encoder == nullptr) GTEST_SKIP() << "this FFmpeg was built without h264_nvenc";
  for (const ffmpeg::H264Use use : {ffmpeg::H264Use::kFile, ffmpeg::H264Use::kLive}) {
    const ffmpeg::Codec codec(avcodec_alloc_context3(encoder));
    for (const auto& [name, value] : ffmpeg::nvenc_settings(use)) {
      EXPECT_EQ(av_opt_set(codec.get(), name, value, AV_OPT_SEARCH_CHILDREN), 0)
          << name << " = " << value;
    }
  }
}

}  // namespace
}  // namespace monarch::io
