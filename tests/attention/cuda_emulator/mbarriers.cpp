#include "tests/attention/cuda_emulator/mbarriers.h"

#include <utility>

#include "monarch/base/error.h"
#include "tests/attention/cuda_emulator/shared_memory.h"

namespace monarch::attention::test {

Mbarriers::Mbarriers(Clocks& clocks, int first_copier, std::function<std::string(int)> name)
    : clocks_(&clocks), first_copier_(first_copier), name_(std::move(name)) {}

void Mbarriers::init(int actor, std::uint32_t offset, int count) {
  const auto [at, added] = states_.try_emplace(offset);
  if (offset % 8 != 0 || !added || count < 1 || states_.size() > kMost) {
    throw EmulationError(str_cat(name_(actor), " makes an mbarrier of ", count,
                                 " arrivals at offset ", offset,
                                 ": misaligned, there already, or one too many"));
  }
  State& state = at->second;
  state.count = state.pending = count;
  state.init = clocks_->now(actor);
  state.copier = first_copier_ + static_cast<int>(states_.size()) - 1;
}

Mbarriers::State& Mbarriers::find(int actor, std::uint32_t offset) {
  const auto at = states_.find(offset);
  if (at == states_.end()) {
    throw EmulationError(str_cat(name_(actor), " uses offset ", offset, ", which is no mbarrier"));
  }
  if (!clocks_->knows(actor, at->second.init)) {
    throw EmulationError(str_cat(name_(actor), " uses the mbarrier at ", offset, " which ",
                                 name_(at->second.init.actor), " made, with no barrier between"));
  }
  return at->second;
}

void Mbarriers::end_phase_if_complete(State& state) {
  if (state.pending != 0 || state.missing_bytes != 0) return;
  state.pending = state.count;
  ++state.phase;
  state.ended = std::make_shared<const Clocks::Seen>(std::exchange(state.gathering, {}).seen);
}

void Mbarriers::expect(int actor, std::uint32_t offset, std::uint32_t bytes) {
  find(actor, offset).missing_bytes += bytes;
  arrive(actor, offset);
}

void Mbarriers::arrive(int actor, std::uint32_t offset) {
  State& state = find(actor, offset);
  if (state.pending == 0) {
    throw EmulationError(str_cat(name_(actor), " arrives at the mbarrier at ", offset,
                                 " where all ", state.count, " of its phase have arrived"));
  }
  clocks_->release(actor, state.gathering);
  --state.pending;
  end_phase_if_complete(state);
}

bool Mbarriers::ended(std::uint32_t offset, std::uint32_t parity) const {
  return states_.at(offset).phase % 2 != parity;
}

bool Mbarriers::acquire(int actor, std::uint32_t offset, std::uint32_t parity) {
  const State& state = find(actor, offset);
  if (!ended(offset, parity)) return false;
  if (state.ended != nullptr) clocks_->acquire(actor, state.ended);
  return true;
}

void Mbarriers::deliver(std::uint32_t offset, std::int64_t bytes) {
  State& state = states_.at(offset);
  clocks_->release(state.copier, state.gathering);
  state.missing_bytes -= bytes;
  if (state.pending == 0 && state.missing_bytes < 0) {
    throw EmulationError(str_cat("the mbarrier at ", offset, " got ", -state.missing_bytes,
                                 " bytes more than were expected"));
  }
  end_phase_if_complete(state);
}

std::string Mbarriers::describe_unfinished() const {
  std::string text;
  for (const auto& [offset, state] : states_) {
    if (state.missing_bytes == 0 && state.pending == state.count) continue;
    text += str_cat("; the mbarrier at ", offset, " lacks ", state.pending, " arrivals and ",
                    state.missing_bytes, " bytes");
  }
  return text;
}

}  // namespace monarch::attention::test
