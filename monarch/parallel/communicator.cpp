#include "monarch/parallel/communicator.h"

#include <utility>

#include "monarch/base/error.h"
#include "monarch/parallel/gloo.h"

namespace monarch::parallel {
namespace {

class Done : public Pending {
 public:
  explicit Done(at::Tensor result) : result_(std::move(result)) {}
  at::Tensor wait() override { return result_; }

 private:
  at::Tensor result_;
};

class OneProcess : public Communicator {
 public:
  OneProcess() : Communicator(0, 1) {}
  void all_reduce(at::Tensor /*tensor*/) override {}
  at::Tensor all_to_all(const at::Tensor& pieces, at::IntArrayRef /*sent*/,
                        at::IntArrayRef /*received*/) override {
    return pieces;
  }
  void broadcast(at::Tensor /*tensor*/, std::int64_t /*root*/) override {}
  std::unique_ptr<Pending> start_all_gather(const at::Tensor& piece) override {
    return std::make_unique<Done>(piece);
  }
  std::unique_ptr<Pending> start_reduce_scatter(const at::Tensor& tensor) override {
    return std::make_unique<Done>(tensor);
  }
  std::unique_ptr<Communicator> part(const std::vector<std::int64_t>& /*ranks*/,
                                     const std::string& /*name*/) override {
    return std::make_unique<OneProcess>();
  }
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
