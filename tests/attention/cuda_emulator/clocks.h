// Who knows of whose accesses: vector clocks of the threads of a cluster, and of what works for
// them asynchronously. An access is known to another actor once a chain of synchronisations leads
// from the one to the other.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace monarch::attention::test {

struct Access {
  int actor = -1;  // nobody: known to all
  std::uint32_t stamp = 0;
};

class Clocks {
 public:
  using Seen = std::vector<std::uint32_t>;  // the last known stamp of each actor
  // What several actors bring to one synchronisation.
  struct Handover {
    Seen seen;
    std::shared_ptr<const Seen> merged;  // the last that went into `seen`
  };

  explicit Clocks(int actors);
  std::size_t actors() const { return own_.size(); }

  Access now(int actor) const { return {actor, own_[index(actor)]}; }
  bool knows(int actor, const Access& access) const {
    return access.actor < 0 || access.actor == actor ||
           (*seen_[index(actor)])[index(access.actor)] >= access.stamp;
  }
  // All that the actor did and knows goes into `into`; what it does next does not.
  void release(int actor, Handover& into);
  void acquire(int actor, const std::shared_ptr<const Seen>& from);
  // What `access`'s actor did up to then, and nothing else.
  void acquire(int actor, const Access& access);
  void tick(int actor) { ++own_[index(actor)]; }

 private:
  static std::size_t index(int actor) { return static_cast<std::size_t>(actor); }

  std::vector<std::uint32_t> own_;
  std::vector<std::shared_ptr<const Seen>> seen_;
  struct {  // many actors make the same step
    std::shared_ptr<const Seen> base;
    std::shared_ptr<const Seen> from;
    Access access;
    std::shared_ptr<const Seen> result;
  } last_;
};

}  // namespace monarch::attention::test
