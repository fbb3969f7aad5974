// The mbarrier objects of a block's shared memory: phases that end when all arrivals and all bytes
// of asynchronous copies are there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/attention/cuda_emulator/clocks.h"

namespace monarch::attention::test {

class Mbarriers {
 public:
  static constexpr int kMost = 32;  // a block

  // The copies of the n-th mbarrier are those of actor first_copier + n.
  Mbarriers(Clocks& clocks, int first_copier, std::function<std::string(int)> name);

  void init(int actor, std::uint32_t offset, int count);
  void expect(int actor, std::uint32_t offset, std::uint32_t bytes);
  void arrive(int actor, std::uint32_t offset);
  // Whether the phase of this parity has ended; if so, `actor` knows what led to it.
  bool acquire(int actor, std::uint32_t offset, std::uint32_t parity);
  bool ended(std::uint32_t offset, std::uint32_t parity) const;
  // Of an asynchronous copy: who it is, and its bytes being there.
  int copier(int actor, std::uint32_t offset) { return find(actor, offset).copier; }
  void deliver(std::uint32_t offset, std::int64_t bytes);

  std::string describe_unfinished() const;

 private:
  struct State {
    int count = 0;
    int pending = 0;
    std::int64_t missing_bytes = 0;
    std::uint32_t phase = 0;
    Access init;
    int copier = 0;
    Clocks::Handover gathering;
    std::shared_ptr<const Clocks::Seen> ended;
  };
  State& find(int actor, std::uint32_t offset);
  void end_phase_if_complete(State& state);

  Clocks* clocks_;
  int first_copier_;
  std::function<std::string(int)> name_;
  std::map<std::uint32_t, State> states_;
};

}  // namespace monarch::attention::test
