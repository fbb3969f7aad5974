// Work of a device that is recorded once and then replayed: on a GPU as a CUDA graph, which starts
// at the cost of one kernel what would cost that of a thousand.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>

namespace monarch::ops {

// Recorded work: the same kernels on the same memory every time.
class Recording {
 public:
  virtual ~Recording() = default;
  // Queues the work on the current stream. Memory that it wrote to and its caller did not provide
  // is overwritten by the next replay of any recording of the same recorder.
  virtual void replay() = 0;
};

// Its recordings are replayed one at a time, on one stream.
class Recorder {
 public:
  virtual ~Recorder() = default;
  // Records what `work` queues on the current stream; none of it has run on return. The work must
  // have run before (libraries set themselves up at first use), must not wait for the device, and
  // must decide nothing by what tensors hold. Throws if the device cannot record it.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;
};

// A recorder of CUDA graphs. Null where there are none: on a CPU, in a build without LibTorch's
// CUDA library, and with MONARCH_CUDA_GRAPHS=0 in the environment.
std::shared_ptr<Recorder> make_recorder(const at::Device& device);

}  // namespace monarch::ops
