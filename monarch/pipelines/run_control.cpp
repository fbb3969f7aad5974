#include "monarch/pipelines/run_control.h"

#include "monarch/base/error.h"

namespace monarch::pipelines {

void RunControl::check() const {
  if (cancelled && cancelled()) {
    fail(ErrorCode::kCancelled, "[monarch_pipelines] stopped on request");
  }
}

void RunControl::step(std::string_view stage, std::int64_t done, std::int64_t total) const {
  if (on_step) on_step({stage, done, total});
  check();
}

}  // namespace monarch::pipelines
