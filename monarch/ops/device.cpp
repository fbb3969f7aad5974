#include "monarch/ops/device.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>

#include "monarch/base/error.h"

namespace monarch::ops {
namespace {

// Older versions of Torch tell a stream's handle in their CUDA headers alone.
template <typename Stream>
constexpr bool kTellsHandle = requires(const Stream& stream) {
  stream.native_handle();
};

template <typename Stream>
void* handle_of(const Stream& stream) {
  if constexpr (kTellsHandle<Stream>) return stream.native_handle();
  return nullptr;
}

std::span<std::byte> thread_workspace(std::size_t bytes) {
  thread_local std::unique_ptr<std::byte[]> buffer;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    buffer.reset();
    size = 0;
    buffer = std::make_unique_for_overwrite<std::byte[]>(bytes);
    size = bytes;
  }
  return {buffer.get(), size};
}

}  // namespace

std::string device_refusal(const at::Device& device) {
  if (device.is_cpu()) return "";
  if (!device.is_cuda()) return str_cat("the kernels run on CPUs and NVIDIA GPUs, not on ", device);
  if (!kTellsHandle<c10::Stream>) return "this Torch is too old to tell the current CUDA stream";
  return "";
}

void synchronize(const at::Device& device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

DeviceScope::DeviceScope(const at::Tensor& t) {
  if (t.device().is_cpu()) return;
  guard_.reset_device(t.device());
  device_ = attention::Device::kCuda;
  stream_ = handle_of(c10::impl::VirtualGuardImpl(t.device().type()).getStream(t.device()));
}

DeviceWorkspace::DeviceWorkspace(const at::Tensor& beside, std::size_t bytes) {
  if (beside.device().is_cpu()) {
    span_ = thread_workspace(bytes);
    return;
  }
  owner_ = at::empty({static_cast<int64_t>(bytes)}, beside.options().dtype(at::kByte));
  span_ = {static_cast<std::byte*>(owner_.data_ptr()), bytes};
}

bool fits_kernels(const at::Tensor& t) {
  if (t.dim() == 0 || t.stride(-1) != 1) return t.dim() == 0;
  if (t.device().is_cpu()) return true;
  const auto elements = static_cast<int64_t>(16 / t.element_size());
  for (int64_t axis = 0; axis + 1 < t.dim(); ++axis) {
    if (t.size(axis) > 1 && t.stride(axis) % elements != 0) return false;
  }
  return reinterpret_cast<std::uintptr_t>(t.const_data_ptr()) % 16 == 0;
}

at::Tensor for_kernels(const at::Tensor& t) {
  return fits_kernels(t) ? t : t.clone(at::MemoryFormat::Contiguous);
}

}  // namespace monarch::ops
