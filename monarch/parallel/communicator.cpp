#include "monarch/parallel/communicator.h"

#include "monarch/base/error.h"
#include "monarch/parallel/gloo.h"

namespace monarch::parallel {
namespace {

class OneProcess : public Communicator {
 public:
  OneProcess() : Communicator(0, 1) {}
  void all_reduce(at::Tensor /*tensor*/) override {}
  void broadcast(at::Tensor /*tensor*/, std::int64_t /*root*/) override {}
  at::Tensor all_gather(const at::Tensor& piece) override { return piece; }
  at::Tensor reduce_scatter(const at::Tensor& tensor) override { return tensor; }
  void barrier() override {}
  void leave(const std::string& /*reason*/) noexcept override {}
};

}  // namespace

std::unique_ptr<Communicator> Communicator::join(const Launch& launch,
                                                 const CommunicatorOptions& options) {
  MONARCH_CHECK(launch.size >= 1 && launch.rank >= 0 && launch.rank < launch.size,
                "[monarch_parallel] rank ", launch.rank, " of ", launch.size, " processes");
  if (launch.size == 1) return std::make_unique<OneProcess>();
  return join_gloo(launch, options);
}

}  // namespace monarch::parallel
