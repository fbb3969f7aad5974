// What makes the frames. The scheduler's one thread calls an engine and its streams, so neither
// needs locks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "monarch/serving/settings.h"

namespace monarch::serving {

using Frames = std::vector<std::vector<std::uint8_t>>;  // each [height, width, 3]

struct EngineChunk {
  Frames frames = {};
  // Instead of `frames`: how many a GPU still decodes while the stream may advance, and what waits
  // for them, once and in any thread.
  std::int64_t num_awaited = 0;
  std::function<Frames()> awaited = {};
  double denoise_seconds = 0;
  double decode_seconds = 0;
  double sparsity = 0;  // share of the attention scores that are not computed

  std::int64_t num_frames() const {
    return awaited ? num_awaited : static_cast<std::int64_t>(frames.size());
  }
  // Waits for frames that are on their way.
  Frames take() { return awaited ? std::exchange(awaited, {})() : std::move(frames); }
};

// Everything of one video that changes; its destructor frees it.
class EngineStream {
 public:
  virtual ~EngineStream() = default;

  // The next frames. `cancelled` is asked between steps; throws kCancelled once it says so.
  virtual EngineChunk advance(const std::function<bool()>& cancelled) = 0;
  // Prompt, attention and steps of the chunks to come; the seed stays.
  virtual void change(const StreamSettings& settings) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const ModelCard& card() const = 0;
  // Does what the first stream would otherwise wait for.
  virtual void prepare() {}
  // `num_frames`: pixel frames of a video with an end; without, the stream has none.
  virtual std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                             std::optional<std::int64_t> num_frames) = 0;
};

}  // namespace monarch::serving
