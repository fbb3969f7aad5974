// Where an operator's kernels run: the tensors' device, its current stream, memory for a call.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "monarch/attention/registry.h"

namespace monarch::ops {

// Why the kernels have no tensors on this device; empty if they may have. (Whether a build or a
// machine has the kernels of a GPU, those say themselves.)
std::string device_refusal(const at::Device& device);

// Returns when all that a device was given is done; the CPU has done it when it was given.
void synchronize(const at::Device& device);

// Makes a tensor's device the current one while it lives. The device is not refused.
class DeviceScope {
 public:
  explicit DeviceScope(const at::Tensor& t);

  attention::Device device() const { return device_; }
  // Torch's current stream, a cudaStream_t; null on the CPU.
  void* stream() const { return stream_; }

 private:
  c10::OptionalDeviceGuard guard_;
  attention::Device device_ = attention::Device::kCpu;
  void* stream_ = nullptr;
};

// Memory beside a tensor, for one call: on the CPU kept by the calling thread and grown when a call
// needs more, elsewhere Torch's, which hands it on in the order of the stream.
class DeviceWorkspace {
 public:
  DeviceWorkspace(const at::Tensor& beside, std::size_t bytes);
  std::span<std::byte> span() const { return span_; }

 private:
  at::Tensor owner_;
  std::span<std::byte> span_;
};

// Whether the kernels of its device can read a tensor as it lies: the last axis contiguous, on a
// GPU rows of multiples of 16 bytes.
bool fits_kernels(const at::Tensor& t);

// The tensor, copied if it does not fit.
at::Tensor for_kernels(const at::Tensor& t);

}  // namespace monarch::ops
