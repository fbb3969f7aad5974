#include "monarch/serving/video_protocol.h"

#include <gtest/gtest.h>

#include "monarch/serving/json_input.h"
#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

const ModelCard kModel{.id = "shapes",
                       .attentions = {"dense"},
                       .width = 64,
                       .height = 48,
                       .frames_per_second = 16,
                       .default_frames = 33};

VideoRequest parse(std::string_view body) { return parse_video_request(body, kModel, Limits{}); }
Refusal refusal(std::string_view body) {
  return refusal_of([&] { parse(body); });
}

TEST(VideoProtocol, ReadsWhatOpenAiClientsSend) {
  EXPECT_EQ(parse(R"({"prompt": "a"})").num_frames, 33);
  EXPECT_EQ(parse(R"({"prompt": "a", "frames": 17})").num_frames, 17);
  EXPECT_EQ(parse(R"({"prompt": "a", "seconds": "2"})").num_frames, 33);
  EXPECT_EQ(parse(R"({"prompt": "a", "seconds": 0.1})").num_frames, 1);
  const VideoRequest full = parse(
      R"({"prompt": "a", "model": "shapes", "size": "64x48", "seed": 5, "attention": "dense"})");
  EXPECT_EQ(full.settings.seed, 5U);
}

TEST(VideoProtocol, RefusesWhatItCannotMake) {
  EXPECT_EQ(refusal(R"({})").status, 400);
  EXPECT_EQ(refusal(R"({"prompt": "a", "model": "sora"})").status, 404);
  EXPECT_EQ(refusal(R"({"prompt": "a", "size": "65x48"})").text,
            "size is '65x48'; this server makes videos of 64x48");
  EXPECT_EQ(refusal(R"({"prompt": "a", "frames": 16})").text,
            "frames is 16; 1, 5, 9, ... (4 n + 1) was expected; the nearest is 17");
  EXPECT_EQ(refusal(R"({"prompt": "a", "frames": 0})").status, 400);
  EXPECT_EQ(refusal(R"({"prompt": "a", "frames": 100001})").status, 400);
  EXPECT_EQ(refusal(R"({"prompt": "a", "frames": 9223372036854775807})").status, 400);
  EXPECT_EQ(refusal(R"({"prompt": "a", "frames": 5, "seconds": 1})").status, 400);
  for (const char* seconds : {"\"nan\"", "\"inf\"", "\"\"", "\"2s\"", "true", "-1", "1e300", "[]"})
    EXPECT_EQ(refusal(std::string(R"({"prompt": "a", "seconds": )") + seconds + "}").status, 400)
        << seconds;
  EXPECT_EQ(refusal(std::string(70'000, ' ')).status, 413);
}

TEST(VideoProtocol, DescribesVideos) {
  VideoRecord video{.id = "video_0", .request = parse(R"({"prompt": "a"})"), .frames_done = 33};
  video.status = VideoStatus::kInProgress;
  Json json = Json::parse(video_body(video, kModel));
  EXPECT_EQ(json["status"], "in_progress");
  EXPECT_EQ(json["progress"], 99);  // the file is not finished
  EXPECT_TRUE(json["completed_at"].is_null() && json["error"].is_null());
  video.status = VideoStatus::kFailed;
  video.error = "no memory";
  json = Json::parse(video_list_body({video}, kModel))["data"][0];
  EXPECT_EQ(json["error"]["message"], "no memory");
  EXPECT_EQ(Json::parse(models_body(kModel))["data"][0]["id"], "shapes");
  EXPECT_EQ(Json::parse(deleted_body("video_0"))["deleted"], true);
}

TEST(VideoProtocol, KnowsItsIds) {
  EXPECT_TRUE(is_video_id("video_0123456789abcdef0123456789abcdef"));
  for (const char* id :
       {"", "video_", "video_../../etc/passwd", "video_0123456789ABCDEF0123456789abcdef",
        "video_0123456789abcdef0123456789abcdef0", "other_0123456789abcdef0123456789abcdef"})
    EXPECT_FALSE(is_video_id(id)) << id;
}

}  // namespace
}  // namespace monarch::serving
