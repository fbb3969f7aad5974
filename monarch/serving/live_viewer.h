// One viewer: takes its messages, makes its chunks when its turn comes, sends it the frames.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "monarch/base/timer.h"
#include "monarch/io/live_video.h"
#include "monarch/serving/endpoint.h"
#include "monarch/serving/engine.h"
#include "monarch/serving/limits.h"
#include "monarch/serving/live_protocol.h"
#include "monarch/serving/scheduler.h"

namespace monarch::serving {

enum class LiveFormat {
  kMp4,    // WebSocket: JSON in text frames, fragmented MP4 in binary ones
  kMjpeg,  // multipart/x-mixed-replace for <img>: pictures at the video's rate
};

// What all viewers of a server share; outlives them.
struct LiveShared {
  Engine& engine;
  Scheduler& scheduler;
  const Limits& limits;
  std::function<void(const ChunkReport&)> on_chunk = {};
  std::atomic<int> viewers = 0;
};

class LiveViewer final : public Viewer, public Task {
 public:
  // `start`: begin at once with these settings, as MJPEG does that has no messages.
  LiveViewer(LiveShared& shared, std::shared_ptr<Channel> channel, LiveFormat format,
             std::optional<StreamSettings> start = std::nullopt);
  ~LiveViewer() override;

  void received(std::string_view text) override;
  void drained() override { shared_.scheduler.notify(); }
  void closed() override;

  bool ready() override;
  bool done() override { return gone_; }
  void step() override;

  static constexpr const char* kBoundary = "monarch-frame";

 private:
  void apply(const ViewerMessage& message);
  bool prepare();  // takes what was asked for since the last chunk; false: nothing to do
  void make_chunk();
  // Encodes and sends a chunk, in a thread of its own while its frames are on their way.
  void deliver(EngineChunk chunk, ChunkReport report);
  void wait_for_delivery();  // throws what it threw
  void send_frames(const Frames& frames);
  void fail_with(int status, std::string_view message);

  LiveShared& shared_;
  const std::shared_ptr<Channel> channel_;
  const LiveFormat format_;
  std::atomic<bool> gone_ = false;
  std::atomic<bool> restarting_ = false;  // the chunk under way is not wanted any more

  std::mutex mutex_;  // guards what the transport's thread writes
  std::optional<StreamSettings> wanted_;
  bool restart_ = false;
  bool changed_ = false;
  bool paused_ = false;
  std::int64_t played_ = -1;  // -1: the viewer does not say
  std::optional<Timer> since_start_;
  std::int64_t made_ = 0;
  std::int64_t on_the_way_ = 0;  // frames of the chunk that delivery_ waits for

  // The scheduler's thread alone.
  std::unique_ptr<EngineStream> stream_;
  StreamSettings settings_;
  Timer since_chunk_;
  std::int64_t num_chunks_ = 0;
  std::future<void> delivery_;  // of the chunk before

  // The thread that delivers: the scheduler's, or that of delivery_.
  std::unique_ptr<io::FragmentedMp4> mp4_;
  std::unique_ptr<io::JpegEncoder> jpeg_;
  double first_frame_seconds_ = 0;
  Channel::Clock::time_point next_due_{};
};

}  // namespace monarch::serving
