#include "monarch/ops/side_stream.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace monarch::ops {

void HostTensor::wait_for_input() const {
  if (ready_) ready_->synchronize();
}

const at::Tensor& HostTensor::get() {
  if (arrived_) arrived_->synchronize();
  return tensor_;
}

SideStream::SideStream(at::Device device) : device_(device) {
  if (!device.is_cpu())
    stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

SideStream::~SideStream() {
  if (stream_) stream_->synchronize();
}

HostTensor SideStream::run(const at::Tensor& input,
                           const std::function<at::Tensor(const at::Tensor&)>& work) {
  HostTensor result;
  if (!stream_) {
    result.tensor_ = work(input);
    return result;
  }
  result.ready_.emplace(device_.type());
  result.ready_->record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  result.ready_->block(*stream_);
  const c10::StreamGuard beside(*stream_);
  input.record_stream(*stream_);  // its memory is not given away before the work is done
  const at::Tensor there = work(input);
  result.tensor_ = at::empty(there.sizes(), there.options().device(at::kCPU).pinned_memory(true));
  result.tensor_.copy_(there, /*non_blocking=*/true);
  result.arrived_.emplace(device_.type());
  result.arrived_->record(*stream_);
  return result;
}

}  // namespace monarch::ops
