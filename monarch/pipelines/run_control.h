// How a caller follows and stops a long computation.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace monarch::pipelines {

struct StepEvent {
  std::string_view stage;  // "denoise", "decode", ...
  std::int64_t done = 0;   // steps finished, of
  std::int64_t total = 0;
};

struct RunControl {
  std::function<void(const StepEvent&)> on_step = {};  // may be empty
  std::function<bool()> cancelled = {};                // may be empty; asked between steps

  // Throws Error(kCancelled) once `cancelled` says so.
  void check() const;
  // Tells on_step, then checks.
  void step(std::string_view stage, std::int64_t done, std::int64_t total) const;
};

}  // namespace monarch::pipelines
