// A second queue of a device, for work that may run beside what the current stream does next.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <functional>
#include <optional>

namespace monarch::ops {

// A tensor on its way to the host's memory.
class HostTensor {
 public:
  // Waits until all is done that it was queued behind.
  void wait_for_input() const;
  // Waits until it is there.
  const at::Tensor& get();

 private:
  friend class SideStream;
  at::Tensor tensor_;
  std::optional<c10::Event> ready_, arrived_;
};

// The CPU has no second queue: there, what is run has run when the call returns.
class SideStream {
 public:
  explicit SideStream(at::Device device);
  ~SideStream();  // waits for all that was run
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  // Queues work(input) behind all that the current stream holds by now, and a copy of the result to
  // the host. What else the work changes belongs to this queue alone.
  HostTensor run(const at::Tensor& input, const std::function<at::Tensor(const at::Tensor&)>& work);

 private:
  at::Device device_;
  std::optional<c10::Stream> stream_;
};

}  // namespace monarch::ops
