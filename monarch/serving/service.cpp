#include "monarch/serving/service.h"

#include <charconv>
#include <fstream>

#include "monarch/base/heap.h"
#include "monarch/base/log.h"
#include "monarch/serving/byte_range.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/json_input.h"
#include "monarch/serving/memory.h"
#include "monarch/serving/static_files.h"

namespace monarch::serving {
namespace {

void allow(const HttpRequest& request, std::string_view methods) {
  if (methods.find(request.method) != std::string_view::npos) return;
  throw HttpError(405, request.path + " answers " + std::string(methods) + ", not " +
                           one_line(request.method, 20));
}

// One turn in which the engine gets ready.
class WarmUp final : public Task {
 public:
  WarmUp(Engine& engine, std::atomic<bool>& warming) : engine_(engine), warming_(warming) {}
  bool ready() override { return warming_; }
  bool done() override { return !warming_; }
  void step() override {
    try {
      engine_.prepare();
    } catch (...) {
      translate_exception();  // logs; the first stream will tell its viewer
    }
    warming_ = false;
  }

 private:
  Engine& engine_;
  std::atomic<bool>& warming_;
};

// The heap comes to lie in pieces; after so many chunks of all viewers what is free is returned, or
// a stream of hours takes more and more.
constexpr std::uint64_t kChunksPerReturn = 64;

[[noreturn]] void not_found() { throw HttpError(404, "there is nothing at this address"); }

}  // namespace

Service::Service(Engine& engine, Limits limits, std::filesystem::path video_folder)
    : engine_(engine),
      limits_(limits),
      live_{engine_, scheduler_, limits_},
      store_(std::make_shared<VideoStore>(engine_, limits_, std::move(video_folder))) {
  declare_metrics();
  live_.on_chunk = [this](const ChunkReport& report) {
    metrics_.add("monarch_live_frames_total", static_cast<double>(report.num_frames));
    metrics_.observe("monarch_live_chunk_seconds",
                     report.denoise_seconds + report.decode_seconds + report.encode_seconds);
    if (report.chunk_index == 0) {
      metrics_.observe("monarch_live_first_frame_seconds", report.first_frame_seconds);
    }
    if (++num_chunks_ % kChunksPerReturn == 0) return_freed_memory();
  };
  scheduler_.add(store_);
}

Service::~Service() {
  store_->interrupt();
  scheduler_.stop();
  try {
    store_->save_waiting();
  } catch (const std::exception& error) {
    log_warning("the videos that still wait are lost: ", error.what());
  }
}

void Service::warm_up() {
  warming_ = true;
  scheduler_.add(std::make_shared<WarmUp>(engine_, warming_));
}

void Service::declare_metrics() {
  metrics_.declare_counter("monarch_http_requests_total", "Answered requests by status.");
  metrics_.declare_counter("monarch_live_frames_total", "Frames made for live viewers.");
  metrics_.declare_gauge("monarch_live_viewers", "Viewers that are connected.");
  metrics_.declare_gauge("monarch_videos_waiting", "Videos in the queue.");
  metrics_.declare_gauge("monarch_resident_memory_bytes", "Memory that the process occupies.");
  metrics_.declare_histogram("monarch_live_chunk_seconds",
                             "Time to denoise, decode and encode a live chunk.",
                             {0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60});
  metrics_.declare_histogram("monarch_live_first_frame_seconds",
                             "From a viewer's start message to its first frame.",
                             {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300});
}

void Service::answered(int status) {
  metrics_.add("monarch_http_requests_total", 1, label("status", std::to_string(status)));
}

HttpResponse Service::answer(const HttpRequest& request) {
  if (request.path == "/health" || request.path == "/ready") {
    allow(request, "GET");
    if (warming_ && request.path == "/ready") {
      throw HttpError(503, "the model is being loaded", std::chrono::seconds(2));
    }
    return {.body = R"({"status":"ok"})"};
  }
  if (request.path == "/metrics") {
    allow(request, "GET");
    return metrics_text();
  }
  if (request.path.starts_with("/v1/")) return api(request);
  const StaticFile* file = find_static_file(request.path == "/" ? "/index.html" : request.path);
  if (file == nullptr) not_found();
  allow(request, "GET");
  return {.content_type = std::string(file->content_type), .body = std::string(file->bytes)};
}

HttpResponse Service::metrics_text() {
  metrics_.set("monarch_live_viewers", live_.viewers);
  metrics_.set("monarch_videos_waiting", static_cast<double>(store_->num_waiting()));
  metrics_.set("monarch_resident_memory_bytes", static_cast<double>(resident_bytes()));
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.text()};
}

HttpResponse Service::api(const HttpRequest& request) {
  const std::string& path = request.path;
  if (path == "/v1/models") {
    allow(request, "GET");
    return {.body = models_body(engine_.card())};
  }
  if (path == "/v1/live.mjpeg") return mjpeg(request);
  if (path == "/v1/live") throw HttpError(400, "/v1/live is a WebSocket; connect with one");
  if (path == "/v1/videos") return videos(request);
  constexpr std::string_view kVideos = "/v1/videos/";
  if (!path.starts_with(kVideos)) not_found();
  const std::string rest = path.substr(kVideos.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  return one_video(request, rest.substr(0, slash), rest.substr(slash));
}

HttpResponse Service::videos(const HttpRequest& request) {
  allow(request, "GET, POST");
  if (request.method == "GET") return {.body = video_list_body(store_->list(), engine_.card())};
  const VideoRecord video = store_->add(parse_video_request(request.body, engine_.card(), limits_));
  scheduler_.notify();
  return {.body = video_body(video, engine_.card())};
}

HttpResponse Service::one_video(const HttpRequest& request, const std::string& id,
                                const std::string& action) {
  if (action.empty()) {
    allow(request, "GET, DELETE");
    if (request.method == "GET") return {.body = video_body(store_->find(id), engine_.card())};
    store_->remove(id);
    scheduler_.notify();
    return {.body = deleted_body(id)};
  }
  if (action == "/cancel") {
    allow(request, "POST");
    const VideoRecord video = store_->cancel(id);
    scheduler_.notify();
    return {.body = video_body(video, engine_.card())};
  }
  if (action != "/content") not_found();
  allow(request, "GET");
  return clip(id, request.range);
}

HttpResponse Service::clip(const std::string& id, const std::string& range_header) {
  const auto file = std::make_shared<std::ifstream>(store_->open_clip(id));
  file->seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(file->tellg());
  const std::optional<ByteRange> range = parse_byte_range(range_header, size);
  const ByteRange part = range.value_or(ByteRange{0, size - 1});
  file->seekg(static_cast<std::streamoff>(part.first));
  HttpResponse response{.content_type = "video/mp4", .file = {file, part.size()}};
  response.headers = {{"Accept-Ranges", "bytes"},
                      {"Content-Disposition", "inline; filename=\"" + id + ".mp4\""}};
  if (range) {
    response.status = 206;
    response.headers.emplace_back("Content-Range", content_range(*range, size));
  }
  return response;
}

// <img src="/v1/live.mjpeg?prompt=a+red+circle&seed=7">: the query is the start message.
HttpResponse Service::mjpeg(const HttpRequest& request) {
  allow(request, "GET");
  Json start{{"type", "start"}};
  for (const auto& [key, value] : request.query) {
    if (key == "token") continue;
    std::int64_t number = 0;
    const char* const end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data(), end, number);
    const bool is_number = (key == "seed" || key == "steps") && error == std::errc() && rest == end;
    start[key] = is_number ? Json(number) : Json(value);
  }
  const auto message = parse_viewer_message(start.dump(), engine_.card(), limits_);
  const auto* settings = std::get_if<StartMessage>(&message);
  if (settings == nullptr) throw HttpError(400, "the address takes no type; it starts a stream");
  return {
      .content_type = std::string("multipart/x-mixed-replace; boundary=") + LiveViewer::kBoundary,
      .stream = viewer(LiveFormat::kMjpeg, settings->settings)};
}

ConnectViewer Service::accept_websocket(const HttpRequest& request) {
  if (request.path != "/v1/live") throw HttpError(404, "the WebSocket is at /v1/live");
  return viewer(LiveFormat::kMp4, std::nullopt);
}

ConnectViewer Service::viewer(LiveFormat format, const std::optional<StreamSettings>& start) {
  if (live_.viewers >= limits_.max_viewers) {
    throw HttpError(429, str_cat("all ", limits_.max_viewers, " places for viewers are taken"),
                    std::chrono::seconds(10));
  }
  return [this, format, start](std::shared_ptr<Channel> channel) {
    auto viewer = std::make_shared<LiveViewer>(live_, std::move(channel), format, start);
    scheduler_.add(viewer);
    return viewer;
  };
}

}  // namespace monarch::serving
