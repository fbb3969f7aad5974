#include "monarch/ops/recorder.h"

namespace monarch::ops {

std::shared_ptr<Recorder> make_recorder(const at::Device& /*device*/) { return nullptr; }

}  // namespace monarch::ops
