// An engine without a model: frames whose colour is the prompt's, and a gate for tests that decide
// when a chunk may be made.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/serving/engine.h"

namespace monarch::serving {

class FakeEngine final : public Engine {
 public:
  // `decode_beside`: frames are awaited (EngineChunk), as those of a GPU are.
  explicit FakeEngine(bool decode_beside = false) : decode_beside_(decode_beside) {
    card_.id = "fake";
    card_.attentions = {"monarchrt", "dense"};
    card_.width = card_.height = 32;
    card_.default_frames = 9;
    card_.max_steps = 8;
  }

  const ModelCard& card() const override { return card_; }
  std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                     std::optional<std::int64_t> /*num_frames*/) override {
    if (settings.prompt == "fail") throw std::runtime_error("secret /path");
    return std::make_unique<Stream>(*this, settings);
  }

  void prepare() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held_ || allowed_ > 0; });
    if (held_) --allowed_;
  }

  // From now on each chunk waits for a call of allow().
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void allow(int chunks) {
    const std::lock_guard lock(mutex_);
    allowed_ += chunks;
    changed_.notify_all();
  }
  // From now on awaited frames also wait for a call of decode(); those of a `broken` chunk never
  // come.
  void hold_frames() {
    const std::lock_guard lock(mutex_);
    frames_held_ = true;
  }
  void decode(int chunks, bool broken = false) {
    const std::lock_guard lock(mutex_);
    decoded_ += chunks;
    broken_ = broken;
    changed_.notify_all();
  }
  // Until `chunks` have been begun since the start.
  void wait_for_begun(std::size_t chunks) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return begun_.size() >= chunks; });
  }
  // Until no stream is left.
  void wait_for_no_streams() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return streams_ == 0; });
  }
  // Wakes chunks that wait, so that they ask whether they are cancelled.
  void poke() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  // Prompts of the chunks begun, in order.
  std::vector<std::string> begun() {
    const std::lock_guard lock(mutex_);
    return begun_;
  }

 private:
  class Stream final : public EngineStream {
   public:
    Stream(FakeEngine& engine, StreamSettings settings)
        : engine_(engine), settings_(std::move(settings)) {
      const std::lock_guard lock(engine_.mutex_);
      ++engine_.streams_;
    }
    ~Stream() override {
      const std::lock_guard lock(engine_.mutex_);
      --engine_.streams_;
      engine_.changed_.notify_all();
    }
    EngineChunk advance(const std::function<bool()>& cancelled) override {
      std::unique_lock lock(engine_.mutex_);
      engine_.begun_.push_back(settings_.prompt);
      engine_.changed_.notify_all();
      engine_.changed_.wait(lock,
                            [&] { return !engine_.held_ || engine_.allowed_ > 0 || cancelled(); });
      if (cancelled()) throw Error(ErrorCode::kCancelled, "cancelled");
      if (engine_.held_) --engine_.allowed_;
      const bool blue = settings_.prompt.find("blue") != std::string::npos;
      std::vector<std::uint8_t> frame;
      for (int i = 0; i < 32 * 32; ++i) {
        frame.push_back(blue ? 20 : 220);
        frame.push_back(40);
        frame.push_back(blue ? 220 : 20);
      }
      EngineChunk chunk{.denoise_seconds = 0.5, .sparsity = 0.75};
      const Frames frames(4, frame);
      if (engine_.decode_beside_) {
        chunk.num_awaited = 4;
        chunk.awaited = [&engine = engine_, frames] { return engine.await(frames); };
      } else {
        chunk.frames = frames;
      }
      return chunk;
    }
    void change(const StreamSettings& settings) override { settings_ = settings; }

   private:
    FakeEngine& engine_;
    StreamSettings settings_;
  };

  Frames await(const Frames& frames) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !frames_held_ || decoded_ > 0; });
    if (frames_held_) --decoded_;
    if (broken_) throw std::runtime_error("the GPU is lost");
    return frames;
  }

  const bool decode_beside_;
  ModelCard card_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> begun_;
  bool held_ = false;
  int allowed_ = 0;
  int streams_ = 0;
  bool frames_held_ = false;
  int decoded_ = 0;
  bool broken_ = false;
};

}  // namespace monarch::serving
