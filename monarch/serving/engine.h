// What makes the frames. The scheduler's one thread calls an engine and its streams, so neither
// needs locks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "monarch/serving/settings.h"

namespace monarch::serving {

struct EngineChunk {
  std::vector<std::vector<std::uint8_t>> frames = {};  // each [height, width, 3]
  double denoise_seconds = 0;
  double decode_seconds = 0;
  double sparsity = 0;  // share of the attention scores that are not computed
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
