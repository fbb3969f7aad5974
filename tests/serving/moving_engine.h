// An engine without a model whose pictures can be checked from outside: the colour that the prompt
// names, and a white bar that moves by two columns a frame. The second chunk of an "endless" prompt
// is never done.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/serving/engine.h"

namespace monarch::serving {

class MovingEngine final : public Engine {
 public:
  MovingEngine() {
    card_.id = "moving";
    card_.attentions = {"monarchrt", "dense"};
    card_.width = kWidth;
    card_.height = kHeight;
    card_.default_frames = 17;
    card_.max_steps = 8;
  }

  const ModelCard& card() const override { return card_; }
  std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                     std::optional<std::int64_t> /*num_frames*/) override {
    return std::make_unique<Stream>(settings);
  }

  // What distinguishes frame `t` of a stream, after encoding and decoding, from what was drawn.
  static std::string what_is_wrong(const std::vector<std::uint8_t>& rgb, const std::string& prompt,
                                   std::size_t t) {
    const Colour colour = colour_of(prompt);
    const int bar = bar_of(static_cast<int>(t));
    const auto differs = [&](int x, Colour expected) {
      const std::uint8_t* pixel = &rgb[static_cast<std::size_t>((kHeight / 2 * kWidth + x) * 3)];
      return std::abs(pixel[0] - expected.red) > 60 || std::abs(pixel[1] - expected.green) > 60 ||
             std::abs(pixel[2] - expected.blue) > 60;
    };
    if (differs((bar + kBarWidth / 2) % kWidth, {255, 255, 255})) {
      return "no bar at column " + std::to_string(bar);
    }
    if (differs((bar + kWidth / 2) % kWidth, colour)) return "the colour is not " + prompt;
    return {};
  }

  static constexpr int kWidth = 96;
  static constexpr int kHeight = 64;
  static constexpr int kBarWidth = 8;

 private:
  struct Colour {
    std::uint8_t red, green, blue;
  };
  static Colour colour_of(const std::string& prompt) {
    if (prompt.find("red") != std::string::npos) return {220, 40, 30};
    if (prompt.find("green") != std::string::npos) return {30, 180, 60};
    if (prompt.find("blue") != std::string::npos) return {30, 60, 220};
    return {90, 90, 90};
  }

  static int bar_of(int frame) { return 2 * (frame % (kWidth / 2)); }

  class Stream final : public EngineStream {
   public:
    explicit Stream(StreamSettings settings) : settings_(std::move(settings)) {}

    EngineChunk advance(const std::function<bool()>& cancelled) override {
      if (frame_ > 0 && settings_.prompt.find("endless") != std::string::npos) {
        while (!cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      if (cancelled()) throw Error(ErrorCode::kCancelled, "cancelled");
      EngineChunk chunk{.denoise_seconds = 0.001, .decode_seconds = 0.001};
      chunk.sparsity = settings_.attention == "dense" ? 0 : 0.8;
      for (int i = 0; i < 8; ++i) chunk.frames.push_back(picture());
      return chunk;
    }
    void change(const StreamSettings& settings) override { settings_ = settings; }

   private:
    std::vector<std::uint8_t> picture() {
      const Colour colour = colour_of(settings_.prompt);
      const int bar = bar_of(frame_++);
      std::vector<std::uint8_t> rgb;
      rgb.reserve(kWidth * kHeight * 3);
      for (int y = 0; y < kHeight; ++y) {
        for (int x = 0; x < kWidth; ++x) {
          const bool white = (x - bar + kWidth) % kWidth < kBarWidth;
          for (const std::uint8_t value : {colour.red, colour.green, colour.blue})
            rgb.push_back(white ? 255 : value);
        }
      }
      return rgb;
    }

    StreamSettings settings_;
    int frame_ = 0;
  };

  ModelCard card_;
};

}  // namespace monarch::serving
