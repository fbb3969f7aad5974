// One engine over several processes that make every video together (monarch/models/wan/sequence.h):
// the first process serves, the others repeat what its engine is asked to do.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "monarch/parallel/communicator.h"
#include "monarch/serving/engine.h"

namespace monarch::serving {

// In the first process. Every call is told to the others before it runs here; so is, step by step,
// whether it is cancelled. Others free a stream with the next call after its end here.
class SharedEngine final : public Engine {
 public:
  // Both must outlive it. follow() runs in the other processes until it ends.
  SharedEngine(Engine& own, parallel::Communicator& ranks) : own_(own), ranks_(ranks) {}
  ~SharedEngine() override;
  SharedEngine(const SharedEngine&) = delete;
  SharedEngine& operator=(const SharedEngine&) = delete;

  const ModelCard& card() const override { return own_.card(); }
  void prepare() override;
  std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                     std::optional<std::int64_t> num_frames) override;

 private:
  class Stream;
  void tell(nlohmann::json call);

  Engine& own_;
  parallel::Communicator& ranks_;
  std::int64_t opened_ = 0;
  std::mutex mutex_;                  // streams may end in any thread
  std::vector<std::int64_t> closed_;  // of which the others do not know yet
};

// In the other processes, with an engine like the first one's. Returns when the first one's
// SharedEngine ends; throws if that process dies.
void follow(Engine& engine, parallel::Communicator& ranks);

}  // namespace monarch::serving
