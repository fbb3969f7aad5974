// What the server offers, path by path (docs/serving.md): the page, live streams, the video API,
// health and metrics.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "monarch/serving/endpoint.h"
#include "monarch/serving/engine.h"
#include "monarch/serving/limits.h"
#include "monarch/serving/live_viewer.h"
#include "monarch/serving/metrics.h"
#include "monarch/serving/scheduler.h"
#include "monarch/serving/video_store.h"

namespace monarch::serving {

class Service final : public Endpoint {
 public:
  // The engine must outlive the service; clips go to `video_folder`.
  Service(Engine& engine, Limits limits, std::filesystem::path video_folder);
  // Stops the video that is being made at its next step; it and those that wait are made after the
  // next start.
  ~Service() override;

  // Prepares the engine before anything is made; /ready answers 503 until that is done.
  void warm_up();

  HttpResponse answer(const HttpRequest& request) override;
  ConnectViewer accept_websocket(const HttpRequest& request) override;
  void answered(int status) override;

  const Metrics& metrics() const { return metrics_; }

 private:
  HttpResponse api(const HttpRequest& request);
  HttpResponse videos(const HttpRequest& request);
  HttpResponse one_video(const HttpRequest& request, const std::string& id,
                         const std::string& action);
  HttpResponse clip(const std::string& id, const std::string& range_header);
  HttpResponse mjpeg(const HttpRequest& request);
  HttpResponse metrics_text();
  void declare_metrics();
  ConnectViewer viewer(LiveFormat format, const std::optional<StreamSettings>& start);

  Engine& engine_;
  const Limits limits_;
  Metrics metrics_;
  Scheduler scheduler_;
  std::atomic<bool> warming_ = false;
  std::atomic<std::uint64_t> num_chunks_ = 0;  // of all viewers
  LiveShared live_;
  std::shared_ptr<VideoStore> store_;
};

}  // namespace monarch::serving
