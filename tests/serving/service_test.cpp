#include "monarch/serving/service.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "monarch/io/video.h"
#include "monarch/serving/json_input.h"
#include "tests/serving/fake_channel.h"
#include "tests/serving/fake_engine.h"
#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

namespace fs = std::filesystem;

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!io::has_ffmpeg()) GTEST_SKIP() << "built without FFmpeg";
    folder_ = fs::temp_directory_path() / ("monarch_serving_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    limits_.max_queued_videos = 2;
    limits_.max_viewers = 1;
    service_ = std::make_unique<Service>(engine_, limits_, folder_);
  }
  void TearDown() override {
    engine_.allow(1'000'000);
    service_.reset();
    fs::remove_all(folder_);
  }

  HttpResponse call(const std::string& method, const std::string& path,
                    const std::string& body = {}, const std::string& range = {}) {
    HttpRequest request{.method = method, .path = path, .range = range, .body = body};
    return service_->answer(request);
  }
  Json json(const std::string& method, const std::string& path, const std::string& body = {}) {
    return Json::parse(call(method, path, body).body);
  }
  int status(const std::string& method, const std::string& path, const std::string& body = {}) {
    return refusal_of([&] { call(method, path, body); }).status;
  }
  std::string create(const std::string& body = R"({"prompt": "red"})") {
    return json("POST", "/v1/videos", body)["id"];
  }
  // A later video is begun only after this one has ended.
  void wait_until_ended(const std::string& id) {
    while (true) {
      const Json video = json("GET", "/v1/videos/" + id);
      if (video["status"] != "queued" && video["status"] != "in_progress") return;
      std::this_thread::yield();
    }
  }

  FakeEngine engine_;
  Limits limits_;
  fs::path folder_;
  std::unique_ptr<Service> service_;
};

TEST_F(ServiceTest, MakesAVideoThatCanBeReadInParts) {
  const std::string id = create(R"({"prompt": "red", "frames": 9})");
  wait_until_ended(id);
  const Json video = json("GET", "/v1/videos/" + id);
  EXPECT_EQ(video["status"], "completed");
  EXPECT_EQ(video["progress"], 100);
  const HttpResponse whole = call("GET", "/v1/videos/" + id + "/content");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.content_type, "video/mp4");
  EXPECT_EQ(io::read_video(folder_ / (id + ".mp4")).frames.size(), 9U);
  const HttpResponse part = call("GET", "/v1/videos/" + id + "/content", "", "bytes=4-7");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.file.size, 4U);
  std::string bytes(4, '\0');
  part.file.file->read(bytes.data(), 4);
  EXPECT_EQ(bytes, "ftyp");
  EXPECT_EQ(whole.file.size, fs::file_size(folder_ / (id + ".mp4")));
  EXPECT_EQ(json("GET", "/v1/videos")["data"].size(), 1U);
  EXPECT_EQ(json("DELETE", "/v1/videos/" + id)["deleted"], true);
  EXPECT_EQ(status("GET", "/v1/videos/" + id), 404);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(ServiceTest, QueuesCancelsAndRefusesTooMany) {
  engine_.hold();
  const std::string running = create();
  engine_.wait_for_begun(1);
  const std::string second = create();
  const std::string third = create();
  const Refusal full = refusal_of([&] { create(); });
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(json("POST", "/v1/videos/" + second + "/cancel")["status"], "cancelled");
  EXPECT_EQ(status("POST", "/v1/videos/" + second + "/cancel"), 409);
  EXPECT_EQ(status("GET", "/v1/videos/" + running + "/content"), 409);
  EXPECT_EQ(json("POST", "/v1/videos/" + running + "/cancel")["status"], "cancelled");
  engine_.poke();
  engine_.allow(3);
  wait_until_ended(third);
  EXPECT_EQ(json("GET", "/v1/videos/" + third)["status"], "completed");
  EXPECT_FALSE(fs::exists(folder_ / (running + ".mp4")));
}

TEST_F(ServiceTest, AFailureIsTheVideosAlone) {
  const std::string id = create(R"({"prompt": "fail"})");
  wait_until_ended(id);
  const Json video = json("GET", "/v1/videos/" + id);
  EXPECT_EQ(video["status"], "failed");
  EXPECT_EQ(video.dump().find("secret"), std::string::npos);
  const std::string next = create();
  wait_until_ended(next);
  EXPECT_EQ(json("GET", "/v1/videos/" + next)["status"], "completed");
}

TEST_F(ServiceTest, FinishedVideosSurviveARestart) {
  const std::string id = create(R"({"prompt": "red", "seed": 12})");
  wait_until_ended(id);
  engine_.hold();
  const std::string unfinished = create();
  engine_.wait_for_begun(4);
  // What a killed server leaves: the second clip has only its temporary name.
  EXPECT_FALSE(fs::exists(folder_ / (unfinished + ".mp4")));
  std::ofstream(folder_ / "video_0123456789abcdef0123456789abcdef.json") << "{broken";
  FakeEngine other;
  Service again(other, limits_, folder_);
  const Json list = Json::parse(again.answer({.method = "GET", .path = "/v1/videos"}).body)["data"];
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["id"], id);
  EXPECT_EQ(list[0]["seed"], 12);
  EXPECT_EQ(list[0]["status"], "completed");
}

TEST_F(ServiceTest, WhatWaitsWhenTheServerEndsIsMadeAfterTheNextStart) {
  engine_.hold();
  const std::string interrupted = create();
  engine_.wait_for_begun(1);
  const std::string waiting = create();
  const std::string cancelled = create();
  call("POST", "/v1/videos/" + cancelled + "/cancel");
  {
    // The chunk under way asks whether it is cancelled.
    const std::jthread poking([&](const std::stop_token& stopped) {
      while (!stopped.stop_requested()) engine_.poke();
    });
    service_.reset();
  }
  engine_.allow(1'000'000);
  service_ = std::make_unique<Service>(engine_, limits_, folder_);
  wait_until_ended(interrupted);
  wait_until_ended(waiting);
  EXPECT_EQ(json("GET", "/v1/videos/" + interrupted)["status"], "completed");
  EXPECT_EQ(json("GET", "/v1/videos/" + waiting)["status"], "completed");
  EXPECT_EQ(status("GET", "/v1/videos/" + cancelled), 404);
}

TEST_F(ServiceTest, HalfWrittenClipsOfDeadServersAreRemoved) {
  const std::string id = "video_0123456789abcdef0123456789abcdef";
  const fs::path dead = folder_ / ("." + id + ".999999999-0.part.mp4");  // above any process number
  const fs::path alive = folder_ / ("." + id + "." + std::to_string(::getppid()) + "-0.part.mp4");
  const fs::path foreign = folder_ / ".holiday.999999999-0.part.mp4";
  for (const fs::path& path : {dead, alive, foreign}) std::ofstream(path) << "half";
  service_ = std::make_unique<Service>(engine_, limits_, folder_);
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(ServiceTest, IsReadyOnceTheEngineIs) {
  EXPECT_EQ(status("GET", "/ready"), 0);
  engine_.hold();
  service_->warm_up();
  EXPECT_EQ(status("GET", "/ready"), 503);
  EXPECT_EQ(status("GET", "/health"), 0);
  const std::string id = create();
  engine_.allow(1'000'000);
  wait_until_ended(id);  // in turn, after the engine is ready
  EXPECT_EQ(status("GET", "/ready"), 0);
}

TEST_F(ServiceTest, AnswersOnlyWhatItKnows) {
  EXPECT_EQ(json("GET", "/health")["status"], "ok");
  EXPECT_EQ(json("GET", "/v1/models")["data"][0]["id"], "fake");
  EXPECT_EQ(call("GET", "/").content_type, "text/html; charset=utf-8");
  for (const char* path : {"/../CMakeLists.txt", "/index.html/", "/v1/videos/../x", "/v1/x",
                           "/etc/passwd", "/v1/videos/video_..", "/v1/videos//content"})
    EXPECT_EQ(status("GET", path), 404) << path;
  EXPECT_EQ(status("POST", "/"), 405);
  EXPECT_EQ(status("PUT", "/v1/videos"), 405);
  EXPECT_EQ(status("POST", "/v1/videos", "{}"), 400);
  EXPECT_EQ(status("GET", "/v1/live"), 400);
  service_->answered(404);
  EXPECT_NE(call("GET", "/metrics").body.find("monarch_http_requests_total{status=\"404\"} 1"),
            std::string::npos);
}

TEST_F(ServiceTest, HasPlacesForViewers) {
  const HttpRequest live{.method = "GET", .path = "/v1/live"};
  EXPECT_EQ(refusal_of([&] { service_->accept_websocket({.path = "/other"}); }).status, 404);
  const auto viewer = service_->accept_websocket(live)(std::make_shared<FakeChannel>());
  EXPECT_EQ(refusal_of([&] { service_->accept_websocket(live); }).status, 429);
  viewer->closed();
}

TEST_F(ServiceTest, MjpegTakesItsSettingsFromTheAddress) {
  HttpRequest request{.method = "GET", .path = "/v1/live.mjpeg"};
  EXPECT_EQ(refusal_of([&] { service_->answer(request); }).status, 400);
  request.query = {{"prompt", "blue"}, {"seed", "x"}};
  EXPECT_EQ(refusal_of([&] { service_->answer(request); }).status, 400);
  request.query = {{"prompt", "blue"}, {"seed", "3"}};
  const HttpResponse response = service_->answer(request);
  const auto channel = std::make_shared<FakeChannel>();
  const auto viewer = response.stream(channel);
  EXPECT_FALSE(channel->binary().empty());
  EXPECT_EQ(engine_.begun().front(), "blue");
  viewer->closed();
}

}  // namespace
}  // namespace monarch::serving
