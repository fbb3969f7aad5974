#include "monarch/parallel/gloo.h"

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <optional>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/parallel/peers.h"

namespace monarch::parallel {
namespace {

using std::chrono::milliseconds;

// The first line of what a library says, without its stack.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

// c10d prints every refused connection with its stack before it throws; the error says it in a
// line.
void be_quiet() {
  if (::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/0) == 0) c10::initLogging();
}

class Gloo : public Communicator {
 public:
  Gloo(const Launch& launch, const CommunicatorOptions& options)
      : Communicator(launch.rank, launch.size) {
    try {
      group_ = meet(launch, options);
      peers_.emplace(connect(launch, options, /*serve=*/false), launch.rank, launch.size,
                     options.silence, [this](const std::string& sentence) { lost(sentence); });
      barrier();
    } catch (const std::exception& error) {
      fail(ErrorCode::kIo, "[monarch_parallel] rank ", launch.rank, " of ", launch.size, " (",
           launch.launcher, ") could not meet the others at ", launch.address, ":", launch.port,
           ": ", first_line(error));
    }
  }

  ~Gloo() override {
    peers_.reset();
    // The store's keeper stays until nobody needs it: the last operation was a collective one.
    group_.reset();
  }

  void all_reduce(at::Tensor tensor) override {
    const at::Tensor whole = tensor.contiguous();
    std::vector<at::Tensor> tensors{whole};
    finish("all_reduce", [&] { return group_->allreduce(tensors); });
    if (!whole.is_same(tensor)) tensor.copy_(whole);
  }

  void broadcast(at::Tensor tensor, std::int64_t root) override {
    const at::Tensor whole = tensor.contiguous();
    std::vector<at::Tensor> tensors{whole};
    c10d::BroadcastOptions which;
    which.rootRank = root;
    finish("broadcast", [&] { return group_->broadcast(tensors, which); });
    if (!whole.is_same(tensor)) tensor.copy_(whole);
  }

  at::Tensor all_gather(const at::Tensor& piece) override {
    MONARCH_CHECK(piece.dim() == 1, "[monarch_parallel] all_gather takes pieces of one dimension");
    at::Tensor input = piece.contiguous();
    at::Tensor all = at::empty({size() * piece.size(0)}, piece.options());
    finish("all_gather", [&] { return group_->_allgather_base(all, input); });
    return all;
  }

  at::Tensor reduce_scatter(const at::Tensor& tensor) override {
    MONARCH_CHECK(tensor.dim() == 1 && tensor.size(0) % size() == 0,
                  "[monarch_parallel] reduce_scatter takes one dimension that ", size(),
                  " divides; got ", shape_string(tensor.sizes()));
    at::Tensor input = tensor.contiguous();
    at::Tensor mine = at::empty({tensor.size(0) / size()}, tensor.options());
    finish("reduce_scatter", [&] { return group_->_reduce_scatter_base(mine, input); });
    return mine;
  }

  void barrier() override {
    finish("barrier", [&] { return group_->barrier(); });
  }

  void leave(const std::string& reason) noexcept override {
    if (peers_) peers_->leave(reason);
  }

 private:
  static c10::intrusive_ptr<c10d::Store> connect(const Launch& launch,
                                                 const CommunicatorOptions& options, bool serve) {
    c10d::TCPStoreOptions store;
    store.port = launch.port;
    store.isServer = serve;
    store.waitWorkers = false;
    store.timeout = options.start;
    return c10::make_intrusive<c10d::PrefixStore>(
        str_cat("monarch/", launch.attempt),
        c10::make_intrusive<c10d::TCPStore>(launch.address, store));
  }

  c10::intrusive_ptr<c10d::ProcessGroupGloo> meet(const Launch& launch,
                                                  const CommunicatorOptions& options) {
    be_quiet();
    store_ = connect(launch, options, launch.rank == 0 && !launch.store_runs);
    auto gloo = c10d::ProcessGroupGloo::Options::create(options.start);
    gloo->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
    auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(store_, static_cast<int>(launch.rank),
                                                             static_cast<int>(launch.size), gloo);
    group->setTimeout(options.answer);
    return group;
  }

  template <typename Start>
  void finish(const char* what, const Start& start) {
    try {
      start()->wait();
    } catch (const std::exception& error) {
      const std::string who = peers_ ? peers_->missing() : "";
      fail(ErrorCode::kIo, "[monarch_parallel] rank ", rank(), " of ", size(), ": ", what,
           " failed: ", who.empty() ? first_line(error) : who);
    }
  }

  // Whatever this rank waits for will not come: end the waiting, so that it is reported.
  void lost(const std::string& sentence) {
    log_warning("[monarch_parallel] ", sentence);
    group_->abort();
  }

  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::optional<Peers> peers_;
};

}  // namespace

std::unique_ptr<Communicator> join_gloo(const Launch& launch, const CommunicatorOptions& options) {
  return std::make_unique<Gloo>(launch, options);
}

}  // namespace monarch::parallel
