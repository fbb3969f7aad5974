#include "monarch/ops/usage.h"

#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::ops {
namespace {

using Key = std::tuple<std::string, std::string, std::string, std::string>;

struct Count {
  int64_t runs = 0;
  attention::MapSize maps;
};

struct Counts {
  std::mutex mutex;
  std::map<Key, Count> of;
};

// Never destroyed: threads may still count while the process ends.
Counts& counts() {
  static Counts* all = new Counts;
  return *all;
}

thread_local HeldCounts* holder = nullptr;

}  // namespace

std::vector<AttentionRuns> attention_runs() {
  const std::lock_guard lock(counts().mutex);
  std::vector<AttentionRuns> all;
  for (const auto& [key, count] : counts().of) {
    const auto& [op, direction, implementation, reason] = key;
    all.push_back({op, direction, implementation, reason, count.runs, count.maps});
  }
  return all;
}

void reset_attention_runs() {
  const std::lock_guard lock(counts().mutex);
  counts().of.clear();
}

std::string describe(const AttentionRuns& runs) {
  return str_cat(runs.op, ' ', runs.direction, ": ", runs.implementation, ", ", runs.count,
                 runs.count == 1 ? " time" : " times",
                 runs.reason.empty() ? "" : " (" + runs.reason + ")");
}

void to_json(Json& json, const AttentionRuns& runs) {
  json = {{"op", runs.op},
          {"direction", runs.direction},
          {"implementation", runs.implementation},
          {"reason", runs.reason},
          {"runs", runs.count}};
  if (runs.maps.dense > 0) json["sparsity"] = runs.maps.sparsity();
}

attention::MapSize self_attention_maps(const std::vector<AttentionRuns>& all) {
  attention::MapSize sum;
  for (const AttentionRuns& runs : all) {
    if (runs.op != "cross") sum += runs.maps;
  }
  return sum;
}

void count_attention(const std::string& op, const std::string& direction,
                     const std::string& implementation, const std::string& reason,
                     const attention::MapSize& maps) {
  AttentionRuns run{op, direction, implementation, reason, 1, maps};
  if (holder != nullptr) {
    holder->runs_.push_back(std::move(run));
  } else {
    count_attention({std::move(run)});
  }
}

void count_attention(const std::vector<AttentionRuns>& runs) {
  const std::lock_guard lock(counts().mutex);
  for (const AttentionRuns& run : runs) {
    Count& count = counts().of[{run.op, run.direction, run.implementation, run.reason}];
    count.runs += run.count;
    count.maps += run.maps;
  }
}

HeldCounts::HeldCounts() : outer_(std::exchange(holder, this)) {}

HeldCounts::~HeldCounts() { holder = outer_; }

}  // namespace monarch::ops
