#include "monarch/serving/live_viewer.h"

#include <algorithm>
#include <utility>

#include "monarch/base/heap.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/memory.h"

namespace monarch::serving {
namespace {

// How far a stream runs ahead of a viewer that says what it has played: a change shows only behind
// what is there already.
constexpr double kAheadSeconds = 2;

io::LiveVideoFormat video_format(const ModelCard& card) {
  return {.width = card.width,
          .height = card.height,
          .fps = card.frames_per_second,
          .gpu_encoder = card.gpu_encoder};
}

}  // namespace

LiveViewer::LiveViewer(LiveShared& shared, std::shared_ptr<Channel> channel, LiveFormat format,
                       std::optional<StreamSettings> start)
    : shared_(shared), channel_(std::move(channel)), format_(format) {
  const ModelCard& card = shared_.engine.card();
  if (format_ == LiveFormat::kMp4) {
    mp4_ = std::make_unique<io::FragmentedMp4>(video_format(card));
    channel_->send(hello_message(card, mp4_->mime_type(), shared_.limits), true);
  } else {
    jpeg_ = std::make_unique<io::JpegEncoder>(video_format(card));
  }
  if (start) apply(StartMessage{*start});
  ++shared_.viewers;
}

LiveViewer::~LiveViewer() {
  if (delivery_.valid()) delivery_.wait();
  --shared_.viewers;
  stream_.reset();
  mp4_.reset();
  jpeg_.reset();
  return_freed_memory();  // or it stays until another viewer comes to use it
}

void LiveViewer::closed() {
  gone_ = true;
  shared_.scheduler.notify();
}

void LiveViewer::received(std::string_view text) {
  try {
    apply(parse_viewer_message(text, shared_.engine.card(), shared_.limits));
  } catch (...) {
    const HttpError error = translate_exception();
    channel_->send(error_message(error.status(), error.what()), true);
    return;
  }
  shared_.scheduler.notify();
}

void LiveViewer::apply(const ViewerMessage& message) {
  const std::lock_guard lock(mutex_);
  if (const auto* start = std::get_if<StartMessage>(&message)) {
    wanted_ = start->settings;
    restart_ = restarting_ = true;
    paused_ = false;
    since_start_.emplace();
  } else if (const auto* played = std::get_if<PlayedMessage>(&message)) {
    played_ = played->frame;
  } else {
    if (!wanted_) throw HttpError(409, "nothing is running yet; send a start message");
    if (const auto* change = std::get_if<ChangeMessage>(&message)) {
      if (change->prompt) wanted_->prompt = *change->prompt;
      if (change->seed) wanted_->seed = *change->seed;
      if (change->attention) wanted_->attention = *change->attention;
      if (change->steps) wanted_->steps = *change->steps;
      if (change->blend) wanted_->blend = *change->blend;
      if (change->paused) paused_ = *change->paused;
      changed_ = true;
    } else {
      restart_ = restarting_ = true;
      paused_ = false;
      since_start_.emplace();
    }
  }
}

bool LiveViewer::ready() {
  if (gone_) return false;
  const std::lock_guard lock(mutex_);
  if (!wanted_ || (paused_ && !restart_)) return false;
  if (channel_->queued_bytes() > shared_.limits.slow_queue_bytes) return false;
  const double ahead = kAheadSeconds * shared_.engine.card().frames_per_second;
  return played_ < 0 || static_cast<double>(made_ + on_the_way_ - played_) < ahead;
}

bool LiveViewer::prepare() {
  StreamSettings wanted;
  bool restart = false;
  bool changed = false;
  {
    const std::lock_guard lock(mutex_);
    if (!wanted_) return false;
    wanted = *wanted_;
    restart = std::exchange(restart_, false) || !stream_;
    changed = std::exchange(changed_, false);
    restarting_ = false;
  }
  if (restart) {
    wait_for_delivery();
    stream_.reset();  // its memory goes before the new one's comes
    stream_ = shared_.engine.open(wanted, std::nullopt);
    first_frame_seconds_ = 0;
  } else if (changed) {
    stream_->change(wanted);
  }
  settings_ = std::move(wanted);
  return true;
}

void LiveViewer::step() {
  try {
    if (delivery_.valid() &&
        delivery_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
      wait_for_delivery();
    if (prepare()) make_chunk();
  } catch (const Error& error) {
    // A restart, or a viewer that left, stops the chunk under way.
    if (error.code() == ErrorCode::kCancelled) return;
    const HttpError told = translate_exception();
    fail_with(told.status(), told.what());
  } catch (...) {
    const HttpError told = translate_exception();
    fail_with(told.status(), told.what());
  }
}

void LiveViewer::fail_with(int status, std::string_view message) {
  if (delivery_.valid()) delivery_.wait();  // what is on its way comes before the message
  delivery_ = {};
  stream_.reset();
  {
    const std::lock_guard lock(mutex_);
    wanted_.reset();
    on_the_way_ = 0;
  }
  if (format_ == LiveFormat::kMp4) {
    channel_->send(error_message(status, message), true);
  } else {
    channel_->close();
  }
}

void LiveViewer::make_chunk() {
  ChunkReport report{.chunk_index = num_chunks_, .settings = settings_};
  report.wait_seconds = num_chunks_ == 0 ? 0 : since_chunk_.seconds();
  EngineChunk chunk = stream_->advance([this] { return gone_ || restarting_; });
  report.denoise_seconds = chunk.denoise_seconds;
  report.sparsity = chunk.sparsity;
  report.num_frames = chunk.num_frames();
  wait_for_delivery();
  if (chunk.awaited) {
    {
      const std::lock_guard lock(mutex_);
      on_the_way_ = report.num_frames;
    }
    delivery_ = std::async(std::launch::async, &LiveViewer::deliver, this, std::move(chunk),
                           std::move(report));
  } else {
    deliver(std::move(chunk), std::move(report));
  }
  ++num_chunks_;
  since_chunk_.restart();
}

void LiveViewer::wait_for_delivery() {
  if (delivery_.valid()) delivery_.get();
}

void LiveViewer::deliver(EngineChunk chunk, ChunkReport report) {
  const Timer waiting;
  const Frames frames = chunk.take();
  report.decode_seconds = chunk.decode_seconds + waiting.seconds();
  if (gone_) return;
  const Timer encoding;
  send_frames(frames);
  report.encode_seconds = encoding.seconds();
  {
    const std::lock_guard lock(mutex_);
    report.first_frame = made_;
    made_ += report.num_frames;
    on_the_way_ = 0;
    if (first_frame_seconds_ == 0 && since_start_) first_frame_seconds_ = since_start_->seconds();
  }
  report.first_frame_seconds = first_frame_seconds_;
  report.memory_bytes = resident_bytes();
  report.viewers = shared_.viewers;
  if (format_ == LiveFormat::kMp4) channel_->send(chunk_message(report), true);
  if (shared_.on_chunk) shared_.on_chunk(report);
}

void LiveViewer::send_frames(const Frames& frames) {
  if (format_ == LiveFormat::kMp4) {
    for (const auto& frame : frames) mp4_->write(frame);
    std::string bytes = mp4_->take();
    if (!bytes.empty()) channel_->send(std::move(bytes), false);
    return;
  }
  // A multipart stream has no clock: pictures leave when they are due.
  const auto period = std::chrono::duration_cast<Channel::Clock::duration>(
      std::chrono::duration<double>(1 / shared_.engine.card().frames_per_second));
  next_due_ = std::max(next_due_, Channel::Clock::now());
  for (const auto& frame : frames) {
    const std::string picture = jpeg_->encode(frame);
    channel_->send(str_cat("--", kBoundary, "\r\nContent-Type: image/jpeg\r\nContent-Length: ",
                           picture.size(), "\r\n\r\n", picture, "\r\n"),
                   false, next_due_);
    next_due_ += period;
  }
}

}  // namespace monarch::serving
