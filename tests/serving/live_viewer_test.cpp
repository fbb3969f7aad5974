#include "monarch/serving/live_viewer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "monarch/io/video.h"
#include "monarch/serving/json_input.h"
#include "tests/serving/fake_channel.h"
#include "tests/serving/fake_engine.h"

namespace monarch::serving {
namespace {

// With frames that are there when a chunk is, and with awaited ones.
class LiveViewerTest : public testing::TestWithParam<bool> {
 protected:
  struct Connected {
    std::shared_ptr<FakeChannel> channel;
    std::shared_ptr<LiveViewer> viewer;
    Json next() const { return Json::parse(channel->text()); }
    void start(const std::string& prompt) const {
      viewer->received(Json{{"type", "start"}, {"prompt", prompt}}.dump());
    }
  };

  void SetUp() override {
    if (!io::has_ffmpeg()) GTEST_SKIP() << "built without FFmpeg";
    engine_.hold();
  }
  // Nobody waits for a chunk that no test allows any more.
  void TearDown() override {
    engine_.allow(1'000'000);
    engine_.decode(1'000'000);
    scheduler_.stop();
  }

  Connected connect() {
    Connected c{std::make_shared<FakeChannel>(), nullptr};
    c.viewer = std::make_shared<LiveViewer>(shared_, c.channel, LiveFormat::kMp4);
    scheduler_.add(c.viewer);
    EXPECT_EQ(c.next()["type"], "hello");
    return c;
  }

  FakeEngine engine_{GetParam()};
  Limits limits_;
  Scheduler scheduler_;
  LiveShared shared_{engine_, scheduler_, limits_};
};

TEST_P(LiveViewerTest, SendsFramesAndWhatTheyCost) {
  const Connected c = connect();
  c.start("red");
  engine_.allow(2);
  EXPECT_EQ(c.channel->binary().substr(4, 4), "ftyp");
  const Json first = c.next();
  EXPECT_EQ(first["type"], "chunk");
  EXPECT_EQ(first["first_frame"], 0);
  EXPECT_EQ(first["frames"], 4);
  EXPECT_EQ(first["settings"]["attention"], "monarchrt");
  EXPECT_EQ(first["denoise_seconds"], 0.5);
  EXPECT_EQ(first["sparsity"], 0.75);
  EXPECT_GT(first["first_frame_seconds"], 0.0);
  EXPECT_GT(first["memory_bytes"], 0);
  EXPECT_EQ(first["viewers"], 1);
  EXPECT_EQ(c.next()["first_frame"], 4);
  EXPECT_EQ(c.channel->binary().substr(4, 4), "moof");
}

TEST_P(LiveViewerTest, AChangeTakesEffectAtTheNextChunk) {
  const Connected c = connect();
  c.start("red");
  engine_.wait_for_begun(1);
  c.viewer->received(R"({"type": "change", "prompt": "blue", "steps": 2})");
  engine_.allow(2);
  EXPECT_EQ(c.next()["settings"]["prompt"], "red");
  const Json second = c.next();
  EXPECT_EQ(second["settings"]["prompt"], "blue");
  EXPECT_EQ(second["settings"]["steps"], 2);
  EXPECT_EQ(second["first_frame"], 4);
}

TEST_P(LiveViewerTest, ARestartStopsTheChunkUnderWay) {
  const Connected c = connect();
  c.start("red");
  engine_.wait_for_begun(1);
  c.viewer->received(R"({"type": "change", "seed": 5})");
  c.viewer->received(R"({"type": "restart"})");
  engine_.poke();
  engine_.wait_for_begun(2);
  engine_.allow(1);
  const Json chunk = c.next();
  EXPECT_EQ(chunk["chunk"], 0);  // the first was never delivered
  EXPECT_EQ(chunk["settings"]["seed"], 5);
}

TEST_P(LiveViewerTest, ViewersTakeTurns) {
  const Connected a = connect();
  const Connected b = connect();
  a.start("a");
  engine_.wait_for_begun(1);
  b.start("b");
  engine_.allow(5);
  engine_.wait_for_begun(6);
  EXPECT_EQ(engine_.begun(), (std::vector<std::string>{"a", "b", "a", "b", "a", "b"}));
}

TEST_P(LiveViewerTest, AClosedViewerStopsAtOnceAndItsMemoryGoes) {
  Connected c = connect();
  c.start("red");
  engine_.wait_for_begun(1);
  c.viewer->closed();
  c.viewer.reset();
  engine_.poke();
  engine_.wait_for_no_streams();
  EXPECT_EQ(engine_.begun().size(), 1U);
}

TEST_P(LiveViewerTest, ASlowViewerWaitsAlone) {
  limits_.slow_queue_bytes = 600;  // more than the hello, less than a beginning of MP4
  const Connected slow = connect();
  const Connected other = connect();
  slow.channel->stall(true);
  slow.start("slow");
  engine_.allow(1);
  slow.next();
  other.start("other");
  engine_.allow(100);
  for (int i = 0; i < 3; ++i) other.next();
  const auto begun = engine_.begun();
  // One more chunk may have begun before the awaited frames were in the queue.
  EXPECT_LE(std::ranges::count(begun, "slow"), GetParam() ? 2 : 1);
  slow.channel->stall(false);
  slow.viewer->drained();
  engine_.allow(2);
  EXPECT_EQ(slow.next()["chunk"], 1);
}

TEST_P(LiveViewerTest, IsPausedAndGoesOn) {
  const Connected c = connect();
  c.start("red");
  engine_.wait_for_begun(1);
  c.viewer->received(R"({"type": "change", "paused": true})");
  engine_.allow(1);
  c.next();
  const Connected other = connect();
  other.start("other");
  engine_.allow(2);
  other.next();
  other.next();
  const auto begun = engine_.begun();
  EXPECT_EQ(std::ranges::count(begun, "red"), 1);
  c.viewer->received(R"({"type": "change", "paused": false})");
  engine_.allow(2);
  EXPECT_EQ(c.next()["chunk"], 1);
}

TEST_P(LiveViewerTest, WaitsForAViewerThatIsFarBehind) {
  const Connected c = connect();
  c.viewer->received(R"({"type": "played", "frame": 0})");
  c.start("red");
  engine_.allow(1000);
  // 2 seconds of 16 frames, 4 in a chunk.
  for (int i = 0; i < 8; ++i) c.next();
  const Connected other = connect();
  other.start("other");
  other.next();
  other.next();
  const auto begun = engine_.begun();
  EXPECT_EQ(std::ranges::count(begun, "red"), 8);
  c.viewer->received(R"({"type": "played", "frame": 100})");
  EXPECT_EQ(c.next()["chunk"], 8);
}

TEST_P(LiveViewerTest, ErrorsAreToldWithoutSecretsAndAnotherStartWorks) {
  const Connected c = connect();
  c.viewer->received("{");
  EXPECT_EQ(c.next()["code"], 400);
  c.viewer->received(R"({"type": "restart"})");
  EXPECT_EQ(c.next()["code"], 409);
  c.start("fail");
  const Json error = c.next();
  EXPECT_EQ(error["code"], 500);
  EXPECT_EQ(error.dump().find("secret"), std::string::npos);
  c.start("red");
  engine_.allow(1);
  EXPECT_EQ(c.next()["type"], "chunk");
}

TEST_P(LiveViewerTest, MjpegStartsByItself) {
  const auto channel = std::make_shared<FakeChannel>();
  const auto viewer = std::make_shared<LiveViewer>(
      shared_, channel, LiveFormat::kMjpeg,
      StreamSettings{.prompt = "red", .attention = "dense", .steps = 4});
  scheduler_.add(viewer);
  engine_.allow(1);
  const std::string part = channel->binary();
  EXPECT_TRUE(part.starts_with("--monarch-frame\r\nContent-Type: image/jpeg\r\n"));
  EXPECT_NE(part.find("\r\n\r\n\xff\xd8"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Frames, LiveViewerTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Awaited" : "There"; });

// Frames come when decode() says so.
class AwaitedFrames : public LiveViewerTest {
 protected:
  void SetUp() override {
    LiveViewerTest::SetUp();
    engine_.hold_frames();
  }
  // Chunk `index` without its frames: the next one is under way.
  void make(int index) {
    engine_.allow(1);
    engine_.wait_for_begun(static_cast<std::size_t>(index) + 2);
  }
};

INSTANTIATE_TEST_SUITE_P(Frames, AwaitedFrames, testing::Values(true));

TEST_P(AwaitedFrames, LeaveWhileTheNextChunkIsMade) {
  const Connected c = connect();
  c.start("red");
  for (int i = 0; i < 3; ++i) {
    make(i);
    engine_.decode(1);
    const Json chunk = c.next();
    EXPECT_EQ(chunk["chunk"], i);
    EXPECT_EQ(chunk["first_frame"], 4 * i);
    EXPECT_EQ(engine_.begun().size(), static_cast<std::size_t>(i) + 2);
  }
}

TEST_P(AwaitedFrames, AreTheSameInTheSameOrder) {
  const auto pieces = [](FakeEngine& engine) {
    Limits limits;
    Scheduler scheduler;
    LiveShared shared{engine, scheduler, limits};
    const auto channel = std::make_shared<FakeChannel>();
    const auto viewer = std::make_shared<LiveViewer>(shared, channel, LiveFormat::kMp4);
    scheduler.add(viewer);
    engine.hold();
    viewer->received(R"({"type": "start", "prompt": "red"})");
    engine.wait_for_begun(1);
    viewer->received(R"({"type": "change", "prompt": "blue"})");
    engine.allow(4);
    std::string all;
    for (int i = 0; i < 4; ++i) all += channel->binary();
    viewer->closed();
    engine.poke();
    scheduler.stop();  // it may be the last to hold the viewer, which needs what it shares
    return all;
  };
  FakeEngine there(false), awaited(true);
  EXPECT_EQ(pieces(awaited), pieces(there));
}

TEST_P(AwaitedFrames, ComeBeforeWhatARestartMakes) {
  const Connected c = connect();
  c.start("red");
  make(0);
  c.viewer->received(R"({"type": "change", "seed": 5})");
  c.viewer->received(R"({"type": "restart"})");
  engine_.poke();
  engine_.decode(1);
  const Json before = c.next();
  EXPECT_EQ(before["settings"]["seed"], 0);
  engine_.allow(1);
  engine_.decode(1);
  const Json after = c.next();
  EXPECT_EQ(after["chunk"], 1);
  EXPECT_EQ(after["first_frame"], 4);
  EXPECT_EQ(after["settings"]["seed"], 5);
}

TEST_P(AwaitedFrames, ComeWhileTheStreamIsPausedOrFarAhead) {
  const Connected c = connect();
  c.start("red");
  engine_.wait_for_begun(1);
  c.viewer->received(R"({"type": "change", "paused": true})");
  engine_.allow(1);
  engine_.decode(1);
  EXPECT_EQ(c.next()["chunk"], 0);
  EXPECT_EQ(engine_.begun().size(), 1U);

  const Connected far = connect();
  far.viewer->received(R"({"type": "played", "frame": 0})");
  far.start("far");
  engine_.allow(1000);
  engine_.decode(1000);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(far.next()["chunk"], i);
  const Connected other = connect();
  other.start("other");
  other.next();
  const auto begun = engine_.begun();
  EXPECT_EQ(std::ranges::count(begun, "far"), 8);
}

TEST_P(AwaitedFrames, OfAViewerThatLeftAreDropped) {
  Connected c = connect();
  c.start("red");
  make(0);
  c.viewer->closed();
  engine_.poke();
  engine_.decode(1);
  c.viewer.reset();
  engine_.wait_for_no_streams();
}

TEST_P(AwaitedFrames, ThatFailAreToldWithoutSecretsAndAnotherStartWorks) {
  const Connected c = connect();
  c.start("red");
  make(0);
  engine_.decode(1, /*broken=*/true);
  engine_.allow(1);
  const Json error = c.next();
  EXPECT_EQ(error["code"], 500);
  EXPECT_EQ(error.dump().find("lost"), std::string::npos);
  engine_.decode(0);
  c.start("blue");
  engine_.allow(1);
  engine_.decode(1);
  const Json chunk = c.next();
  EXPECT_EQ(chunk["settings"]["prompt"], "blue");
  EXPECT_EQ(chunk["first_frame"], 0);
}

}  // namespace
}  // namespace monarch::serving
