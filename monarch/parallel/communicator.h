// Collective operations between processes, over c10d: Gloo for tensors of the CPU.
//
// All ranks call the same operations in the same order. If a peer ends or stays away, the operation
// throws on every other rank, saying which rank is missing and why if it left a word.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "monarch/parallel/launch.h"

namespace monarch::parallel {

struct CommunicatorOptions {
  std::chrono::seconds start = std::chrono::minutes(10);   // for all ranks to come
  std::chrono::seconds answer = std::chrono::minutes(30);  // for a rank that is alive but busy
  // A rank whose process has given no sign of life for so long is taken for dead, wherever the
  // others wait.
  std::chrono::seconds silence = std::chrono::seconds(30);
};

// A collective operation under way.
class Pending {
 public:
  virtual ~Pending() = default;
  // The result, when it is there; to be called once. Throws as the operation would.
  virtual at::Tensor wait() = 0;
};

class Communicator {
 public:
  // Meets the other ranks; returns when all are there. Throws kIo if they do not come in
  // time, kUnsupported where the build has no Gloo. One process meets nobody.
  static std::unique_ptr<Communicator> join(const Launch& launch,
                                            const CommunicatorOptions& options = {});
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  std::int64_t rank() const { return rank_; }
  std::int64_t size() const { return size_; }

  // Σ over the ranks, in place. The same bits on every rank.
  virtual void all_reduce(at::Tensor tensor) = 0;
  // Rank `root`'s values, in place.
  virtual void broadcast(at::Tensor tensor, std::int64_t root) = 0;
  // The ranks' pieces [n] one after the other, [size n].
  at::Tensor all_gather(const at::Tensor& piece) { return start_all_gather(piece)->wait(); }
  // Piece `rank` of Σ over the ranks of [size n]: [n].
  at::Tensor reduce_scatter(const at::Tensor& tensor) {
    return start_reduce_scatter(tensor)->wait();
  }
  // Pieces for every rank [Σ sent], sent[r] elements for rank r, one after the other; what the
  // ranks have for this one, [Σ received].
  virtual at::Tensor all_to_all(const at::Tensor& pieces, at::IntArrayRef sent,
                                at::IntArrayRef received) = 0;
  // Gathering and scattering while this rank goes on with other work.
  virtual std::unique_ptr<Pending> start_all_gather(const at::Tensor& piece) = 0;
  virtual std::unique_ptr<Pending> start_reduce_scatter(const at::Tensor& tensor) = 0;
  // Returns when all ranks have called it.
  virtual void barrier() = 0;

  // The group of some of the ranks, in this order, this one among them; all of them call it with
  // the same `name`, which no other group has. This group must outlive it.
  virtual std::unique_ptr<Communicator> part(const std::vector<std::int64_t>& ranks,
                                             const std::string& name) = 0;

  // Tells the others why this rank ends; they repeat it in their errors. Does not throw.
  virtual void leave(const std::string& reason) noexcept = 0;

 protected:
  Communicator(std::int64_t rank, std::int64_t size) : rank_(rank), size_(size) {}

 private:
  std::int64_t rank_;
  std::int64_t size_;
};

}  // namespace monarch::parallel
