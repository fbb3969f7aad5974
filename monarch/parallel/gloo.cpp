#include "monarch/parallel/gloo.h"

#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/parallel/peers.h"

namespace monarch::parallel {
namespace {

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

// This machine's address on the way to where the ranks meet: the one that the others can reach.
std::string own_address(const Launch& launch) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(launch.address.c_str(), str_cat(launch.port).c_str(), &hints, &found);
  MONARCH_CHECK_CODE(error == 0, kIo, "the address ", launch.address,
                     " is unknown: ", ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  const int socket = ::socket(found->ai_family, SOCK_DGRAM, 0);
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  char text[NI_MAXHOST] = "";
  // Connecting a datagram socket sends nothing; it chooses the route.
  const bool known = socket >= 0 && ::connect(socket, found->ai_addr, found->ai_addrlen) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
                     ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text),
                                   nullptr, 0, NI_NUMERICHOST) == 0;
  if (socket >= 0) ::close(socket);
  MONARCH_CHECK_CODE(known, kIo, "there is no way to ", launch.address);
  return text;
}

std::shared_ptr<::gloo::transport::Device> device_of(const Launch& launch) {
  if (const auto interface = environment_variable("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(*interface);
  return c10d::ProcessGroupGloo::createDeviceForHostname(own_address(launch));
}

// What the groups of a process share: the store where all ranks met, and the watch over them.
class Meeting {
 public:
  Meeting(const Launch& launch, const CommunicatorOptions& options)
      : launch_(launch), options_(options) {
    be_quiet();
    store_ = connect(launch.rank == 0 && !launch.store_runs);
  }

  c10::intrusive_ptr<c10d::ProcessGroupGloo> form(const std::string& name, std::int64_t rank,
                                                  std::int64_t size) {
    auto gloo = c10d::ProcessGroupGloo::Options::create(options_.start);
    gloo->devices.push_back(device_of(launch_));
    auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>(name, store_), static_cast<int>(rank),
        static_cast<int>(size), gloo);
    group->setTimeout(options_.answer);
    const std::lock_guard lock(mutex_);
    groups_.push_back(group);
    if (lost_) group->abort();
    return group;
  }

  void begin_watch() {
    peers_.emplace(connect(/*serve=*/false), launch_.rank, launch_.size, options_.silence,
                   [this](const std::string& sentence) { lost(sentence); });
  }
  void end_watch() { peers_.reset(); }

  // A sentence about a rank that is missing; empty if all seem well.
  std::string missing() { return peers_ ? peers_->missing() : ""; }
  void leave(const std::string& reason) noexcept {
    if (peers_) peers_->leave(reason);
  }

 private:
  c10::intrusive_ptr<c10d::Store> connect(bool serve) const {
    c10d::TCPStoreOptions store;
    store.port = launch_.port;
    store.isServer = serve;
    store.waitWorkers = false;
    store.timeout = options_.start;
    return c10::make_intrusive<c10d::PrefixStore>(
        str_cat("monarch/", launch_.attempt),
        c10::make_intrusive<c10d::TCPStore>(launch_.address, store));
  }

  // Whatever this rank waits for will not come: end the waiting, so that it is reported.
  void lost(const std::string& sentence) {
    log_warning("[monarch_parallel] ", sentence);
    const std::lock_guard lock(mutex_);
    lost_ = true;
    for (const auto& group : groups_) group->abort();
  }

  Launch launch_;
  CommunicatorOptions options_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::mutex mutex_;
  bool lost_ = false;
  std::vector<c10::intrusive_ptr<c10d::ProcessGroupGloo>> groups_;
  std::optional<Peers> peers_;
};

class Gloo : public Communicator {
 public:
  Gloo(std::shared_ptr<Meeting> meeting, const std::string& name, std::int64_t rank,
       std::int64_t size)
      : Communicator(rank, size),
        meeting_(std::move(meeting)),
        group_(meeting_->form(name, rank, size)) {}

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

  at::Tensor all_to_all(const at::Tensor& pieces, at::IntArrayRef sent,
                        at::IntArrayRef received) override {
    const auto ranks = static_cast<size_t>(size());
    MONARCH_CHECK(sent.size() == ranks && received.size() == ranks && pieces.dim() == 1 &&
                      pieces.size(0) == c10::sum_integers(sent),
                  "[monarch_parallel] all_to_all of ", size(), " ranks takes as many sizes and ",
                  c10::sum_integers(sent), " elements in one dimension; got ",
                  shape_string(pieces.sizes()));
    const at::Tensor input = pieces.contiguous();
    const at::Tensor all = at::empty({c10::sum_integers(received)}, pieces.options());
    at::Tensor from = input.view(at::kByte), to = all.view(at::kByte);
    std::vector<std::int64_t> bytes_sent = sent.vec(), bytes_received = received.vec();
    for (std::vector<std::int64_t>* sizes : {&bytes_sent, &bytes_received})
      for (std::int64_t& count : *sizes) count *= static_cast<std::int64_t>(pieces.element_size());
    finish("all_to_all",
           [&] { return group_->alltoall_base(to, from, bytes_received, bytes_sent); });
    return all;
  }

  std::unique_ptr<Pending> start_all_gather(const at::Tensor& piece) override {
    MONARCH_CHECK(piece.dim() == 1, "[monarch_parallel] all_gather takes pieces of one dimension");
    const at::Tensor input = piece.contiguous();
    const at::Tensor all = at::empty({size() * piece.size(0)}, piece.options());
    // Bytes: every type of tensor is gathered alike.
    at::Tensor from = input.view(at::kByte), to = all.view(at::kByte);
    return start("all_gather", input, all, [&] { return group_->_allgather_base(to, from); });
  }

  std::unique_ptr<Pending> start_reduce_scatter(const at::Tensor& tensor) override {
    MONARCH_CHECK(tensor.dim() == 1 && tensor.size(0) % size() == 0,
                  "[monarch_parallel] reduce_scatter takes one dimension that ", size(),
                  " divides; got ", shape_string(tensor.sizes()));
    at::Tensor input = tensor.contiguous();
    at::Tensor mine = at::empty({tensor.size(0) / size()}, tensor.options());
    return start("reduce_scatter", input, mine,
                 [&] { return group_->_reduce_scatter_base(mine, input); });
  }

  void barrier() override {
    finish("barrier", [&] { return group_->barrier(); });
  }

  std::unique_ptr<Communicator> part(const std::vector<std::int64_t>& ranks,
                                     const std::string& name) override {
    const auto own = std::find(ranks.begin(), ranks.end(), rank());
    MONARCH_CHECK(own != ranks.end(), "[monarch_parallel] rank ", rank(),
                  " is not among the ranks of the group ", name);
    std::unique_ptr<Gloo> part;
    running("forming a group", [&] {
      part = std::make_unique<Gloo>(meeting_, name, own - ranks.begin(),
                                    static_cast<std::int64_t>(ranks.size()));
    });
    return part;
  }

  void leave(const std::string& reason) noexcept override { meeting_->leave(reason); }

 protected:
  Meeting& meeting() { return *meeting_; }

 private:
  class Started : public Pending {
   public:
    Started(Gloo& gloo, const char* what, c10::intrusive_ptr<c10d::Work> work, at::Tensor input,
            at::Tensor result)
        : gloo_(gloo),
          what_(what),
          work_(std::move(work)),
          input_(std::move(input)),
          result_(std::move(result)) {}
    at::Tensor wait() override {
      gloo_.running(what_, [&] { work_->wait(); });
      return result_;
    }

   private:
    Gloo& gloo_;
    const char* what_;
    c10::intrusive_ptr<c10d::Work> work_;
    at::Tensor input_, result_;  // in use by the operation
  };

  template <typename Start>
  std::unique_ptr<Pending> start(const char* what, const at::Tensor& input,
                                 const at::Tensor& result, const Start& begin) {
    std::unique_ptr<Pending> started;
    running(what,
            [&] { started = std::make_unique<Started>(*this, what, begin(), input, result); });
    return started;
  }

  template <typename Start>
  void finish(const char* what, const Start& begin) {
    running(what, [&] { begin()->wait(); });
  }

  // Runs a part of the operation `what`; an error says who is missing.
  template <typename Part>
  void running(const char* what, const Part& part) {
    try {
      part();
    } catch (const std::exception& error) {
      const std::string who = meeting_->missing();
      fail(ErrorCode::kIo, "[monarch_parallel] rank ", rank(), " of ", size(), ": ", what,
           " failed: ", who.empty() ? first_line(error) : who);
    }
  }

  std::shared_ptr<Meeting> meeting_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
};

// The group of all ranks.
class Everyone : public Gloo {
 public:
  Everyone(const Launch& launch, const CommunicatorOptions& options)
      : Gloo(std::make_shared<Meeting>(launch, options), "all", launch.rank, launch.size) {
    meeting().begin_watch();
    Gloo::barrier();
  }
  // The store's keeper stays until nobody needs it: the last operation was a collective one.
  ~Everyone() override { meeting().end_watch(); }
};

}  // namespace

std::unique_ptr<Communicator> join_gloo(const Launch& launch, const CommunicatorOptions& options) {
  try {
    return std::make_unique<Everyone>(launch, options);
  } catch (const std::exception& error) {
    fail(ErrorCode::kIo, "[monarch_parallel] rank ", launch.rank, " of ", launch.size, " (",
         launch.launcher, ") could not meet the others at ", launch.address, ":", launch.port, ": ",
         first_line(error));
  }
}

}  // namespace monarch::parallel
