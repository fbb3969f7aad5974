#include "tests/attention/cuda_emulator/clocks.h"

#include <algorithm>

namespace monarch::attention::test {

Clocks::Clocks(int actors)
    : own_(index(actors), 1), seen_(index(actors), std::make_shared<const Seen>(index(actors))) {}

void Clocks::release(int actor, Handover& into) {
  const std::shared_ptr<const Seen>& mine = seen_[index(actor)];
  if (into.seen.empty()) into.seen.resize(own_.size());
  if (into.merged != mine) {
    std::ranges::transform(into.seen, *mine, into.seen.begin(),
                           [](std::uint32_t a, std::uint32_t b) { return std::max(a, b); });
    into.merged = mine;
  }
  std::uint32_t& stamp = own_[index(actor)];
  into.seen[index(actor)] = stamp++;
}

void Clocks::acquire(int actor, const std::shared_ptr<const Seen>& from) {
  std::shared_ptr<const Seen>& mine = seen_[index(actor)];
  if (mine == from) return;
  if (last_.base != mine || last_.from != from) {
    auto result = std::make_shared<Seen>(*mine);
    std::ranges::transform(*result, *from, result->begin(),
                           [](std::uint32_t a, std::uint32_t b) { return std::max(a, b); });
    last_ = {mine, from, {}, std::move(result)};
  }
  mine = last_.result;
}

void Clocks::acquire(int actor, const Access& access) {
  if (knows(actor, access)) return;
  std::shared_ptr<const Seen>& mine = seen_[index(actor)];
  if (last_.base != mine || last_.access.actor != access.actor ||
      last_.access.stamp != access.stamp) {
    auto result = std::make_shared<Seen>(*mine);
    (*result)[index(access.actor)] = access.stamp;
    last_ = {mine, nullptr, access, std::move(result)};
  }
  mine = last_.result;
}

}  // namespace monarch::attention::test
