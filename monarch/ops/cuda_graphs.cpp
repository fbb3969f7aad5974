#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdlib>
#include <string_view>

#include "monarch/ops/recorder.h"

namespace monarch::ops {
namespace {

class CudaGraph final : public Recording {
 public:
  explicit CudaGraph(at::cuda::MempoolId_t pool, const std::function<void()>& work) {
    // Other threads, such as those that decode, may allocate meanwhile.
    graph_.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      // Leaves the stream as it was; the work's own error says more than that of the rest.
      try {
        graph_.capture_end();
      } catch (const c10::Error&) {
      }
      throw;
    }
    graph_.capture_end();
  }

  void replay() override { graph_.replay(); }

 private:
  at::cuda::CUDAGraph graph_;
};

class CudaGraphs final : public Recorder {
 public:
  explicit CudaGraphs(const at::Device& device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
        pool_(at::cuda::graph_pool_handle()) {}

  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    const c10::cuda::CUDAStreamGuard recorded(stream_);
    return std::make_unique<CudaGraph>(pool_, work);
  }

 private:
  // The default stream cannot be recorded; one for all, as cuBLAS keeps memory for each it meets.
  c10::cuda::CUDAStream stream_;
  at::cuda::MempoolId_t pool_;  // of all graphs: they run one at a time
};

}  // namespace

std::shared_ptr<Recorder> make_recorder(const at::Device& device) {
  const char* wanted = std::getenv("MONARCH_CUDA_GRAPHS");
  if (!device.is_cuda() || (wanted != nullptr && std::string_view(wanted) == "0")) return nullptr;
  return std::make_shared<CudaGraphs>(device);
}

}  // namespace monarch::ops
