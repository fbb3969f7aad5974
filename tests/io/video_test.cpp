#include "monarch/io/video.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>

#include "monarch/io/palette.h"
#include "tests/io/files.h"

namespace monarch::io {
namespace {

constexpr int kWidth = 64, kHeight = 48;

// A red square moving right over blue-green shading.
std::vector<std::uint8_t> frame(int index, int width = kWidth, int height = kHeight) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width * height * 3));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool inside = x >= 8 * index && x < 8 * index + 16 && y >= 16 && y < 32;
      std::uint8_t* pixel = &rgb[static_cast<std::size_t>((y * width + x) * 3)];
      pixel[0] = inside ? 220 : 20;
      pixel[1] = inside ? 30 : static_cast<std::uint8_t>(60 + y * 2);
      pixel[2] = inside ? 40 : 140;
    }
  }
  return rgb;
}

double mean_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(a.size());
}

void write_frames(const std::filesystem::path& path, int count) {
  const auto writer = open_video_writer(path, kWidth, kHeight, 16);
  for (int i = 0; i < count; ++i) writer->write(frame(i));
  writer->finish();
}

class VideoTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_ffmpeg()) GTEST_SKIP() << "built without FFmpeg";
  }
  TemporaryFolder folder_;
};

TEST_F(VideoTest, Mp4RoundTrip) {
  const auto path = folder_ / "a:b.mp4";
  write_frames(path, 5);
  EXPECT_EQ(folder_.num_files(), 1U);
  const Video video = read_video(path);
  ASSERT_EQ(video.frames.size(), 5U);
  EXPECT_EQ(video.width, kWidth);
  EXPECT_EQ(video.height, kHeight);
  EXPECT_NEAR(video.fps, 16, 1e-6);
  // Halved chroma blurs the square's edges; plain areas keep their colour.
  for (int i = 0; i < 5; ++i) {
    EXPECT_LT(mean_difference(video.frames[static_cast<std::size_t>(i)], frame(i)), 4.0) << i;
  }
  EXPECT_EQ(read_video(path, 2).frames.size(), 2U);
  // Browsers start playing when the index stands before the frames.
  const std::string bytes = read_raw(path);
  EXPECT_LT(bytes.find("moov"), bytes.find("mdat"));
}

TEST_F(VideoTest, SameFramesSameBytes) {
  write_frames(folder_ / "a.mp4", 4);
  write_frames(folder_ / "b.mp4", 4);
  EXPECT_EQ(read_raw(folder_ / "a.mp4"), read_raw(folder_ / "b.mp4"));
}

TEST_F(VideoTest, GifRoundTrip) {
  const auto path = folder_ / "x.gif";
  write_frames(path, 3);
  const Video video = read_video(path);
  ASSERT_EQ(video.frames.size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(mean_difference(video.frames[static_cast<std::size_t>(i)], frame(i)), 1.5) << i;
  }
}

TEST_F(VideoTest, PngIsExact) {
  const auto pixels = frame(2, 7, 33);
  write_png(folder_ / "x.png", 7, 33, pixels);
  const Image image = read_image(folder_ / "x.png");
  EXPECT_EQ(image.width, 7);
  EXPECT_EQ(image.height, 33);
  EXPECT_EQ(image.rgb, pixels);
}

TEST_F(VideoTest, PalettePngIsExact) {
  const std::vector<std::uint8_t> palette{1, 2, 3, 250, 0, 128, 9, 8, 7};
  write_raw(folder_ / "x.png",
            encode_palette_png(3, 2, palette, std::vector<std::uint8_t>{0, 1, 2, 2, 0, 1}));
  EXPECT_EQ(
      read_image(folder_ / "x.png").rgb,
      (std::vector<std::uint8_t>{1, 2, 3, 250, 0, 128, 9, 8, 7, 9, 8, 7, 1, 2, 3, 250, 0, 128}));
  EXPECT_THROW(encode_palette_png(1, 1, palette, std::vector<std::uint8_t>{3}), Error);
  EXPECT_THROW(encode_palette_png(2, 1, palette, std::vector<std::uint8_t>{0}), Error);
}

TEST_F(VideoTest, ReaderSaysWhatIsWrong) {
  expect_error([&] { read_image(folder_ / "none.png"); }, ErrorCode::kNotFound,
               {"there is no file", "none.png"});
  write_raw(folder_ / "x.png", "not a picture");
  expect_error([&] { read_image(folder_ / "x.png"); }, ErrorCode::kCorrupt,
               {"cannot read", "x.png", "as an image or video"});
  write_raw(folder_ / "x.png", "");
  expect_error([&] { read_video(folder_ / "x.png"); }, ErrorCode::kCorrupt, {"x.png"});
}

TEST_F(VideoTest, UnfinishedOrFailedWritesLeaveNothing) {
  write_raw(folder_ / "x.mp4", "before");
  {
    const auto writer = open_video_writer(folder_ / "x.mp4", kWidth, kHeight, 16);
    writer->write(frame(0));
    expect_error([&] { writer->write(std::vector<std::uint8_t>(5)); }, ErrorCode::kInvalidArgument,
                 {"a frame of 64x48 needs 9216 bytes, but 5 were given"});
  }
  EXPECT_EQ(folder_.num_files(), 1U);
  EXPECT_EQ(read_raw(folder_ / "x.mp4"), "before");

  struct rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 500;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error([&] { write_frames(folder_ / "x.mp4", 5); }, ErrorCode::kIo,
               {"cannot write", "x.mp4", "File too large"});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(folder_.num_files(), 1U);
  EXPECT_EQ(read_raw(folder_ / "x.mp4"), "before");
}

TEST_F(VideoTest, WriterChecksItsArguments) {
  const auto open = [&](std::string_view name, int width, int height, double fps) {
    open_video_writer(folder_ / name, width, height, fps);
  };
  expect_error([&] { open("x.avi", 2, 2, 16); }, ErrorCode::kInvalidArgument,
               {"x.avi", ".mp4 or .gif", "PNG frames"});
  expect_error([&] { open("x.mp4", 3, 2, 16); }, ErrorCode::kInvalidArgument,
               {"even sides", "3x2"});
  expect_error([&] { open("x.mp4", 0, 2, 16); }, ErrorCode::kInvalidArgument, {"0x2"});
  expect_error([&] { open("x.mp4", 2, 2, 0); }, ErrorCode::kInvalidArgument,
               {"0 frames per second"});
  expect_error([&] { open("no/x.mp4", 2, 2, 16); }, ErrorCode::kIo, {"there is no folder"});
  const auto empty = open_video_writer(folder_ / "x.mp4", 16, 16, 16);
  expect_error([&] { empty->finish(); }, ErrorCode::kInvalidArgument, {"without frames"});
}

TEST(PngFolder, ReplacesAnEarlierVideo) {
  const TemporaryFolder folder;
  write_frames(folder / "frames", 4);
  write_raw(folder / "frames/notes.txt", "mine");
  write_frames(folder / "frames/", 2);
  EXPECT_EQ(folder.num_files(), 1U);
  std::vector<std::string> names;
  for (const auto& item : std::filesystem::directory_iterator(folder / "frames")) {
    names.push_back(item.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"frame_00000.png", "frame_00001.png", "notes.txt"}));
  write_raw(folder / "file", "x");
  expect_error([&] { write_frames(folder / "file", 1); }, ErrorCode::kIo, {"it is a file"});
}

TEST(Palette, KeepsFewColoursExactly) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < 250; ++i) {
    const auto color = static_cast<std::uint8_t>(i % 25 * 10);
    rgb.insert(rgb.end(), {color, static_cast<std::uint8_t>(i / 25 * 20), 7});
  }
  const PaletteImage image = quantize(rgb);
  for (std::size_t i = 0; i < 250; ++i) {
    const std::uint32_t color = image.colors[image.indices[i]];
    EXPECT_EQ(color >> 24, 0xFFU);
    EXPECT_EQ(color >> 16 & 0xFF, rgb[3 * i]);
    EXPECT_EQ(color >> 8 & 0xFF, rgb[3 * i + 1]);
    EXPECT_EQ(color & 0xFF, rgb[3 * i + 2]);
  }
}

}  // namespace
}  // namespace monarch::io
