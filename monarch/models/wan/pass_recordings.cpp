#include "monarch/models/wan/pass_recordings.h"

#include <exception>
#include <string_view>

#include "monarch/base/log.h"

namespace monarch::models {
namespace {

// A stream without a window has a work for every place in its caches and every step.
constexpr std::size_t kMostRecordings = 256;

}  // namespace

PassRecordings::PassRecordings(std::shared_ptr<ops::Recorder> recorder)
    : recorder_(std::move(recorder)) {}

at::Tensor PassRecordings::run(std::vector<int64_t> key, const std::vector<int64_t>& surroundings,
                               const Inputs& inputs, const Work& work) {
  if (!recorder_) return work(inputs);
  if (surroundings != surroundings_) {
    recorded_.clear();
    surroundings_ = surroundings;
  }
  for (const at::Tensor& t : {inputs.x, inputs.t, inputs.rope})
    key.insert(key.end(), t.sizes().begin(), t.sizes().end());
  const auto found = recorded_.find(key);
  if (found == recorded_.end()) {
    if (recorded_.size() < kMostRecordings) recorded_.emplace(std::move(key), Recorded{});
    return work(inputs);
  }
  Recorded& recorded = found->second;
  if (!recorded.recording) {
    try {
      recorded = record(inputs, work);
    } catch (const std::exception& error) {
      // An error of the work itself comes again below.
      const std::string_view text = error.what();
      log_warning("passes are run kernel by kernel, as the device cannot record them: ",
                  text.substr(0, text.find('\n')));
      recorder_ = nullptr;
      recorded_.clear();
      return work(inputs);
    }
  }
  recorded.inputs.x.copy_(inputs.x);
  recorded.inputs.t.copy_(inputs.t);
  recorded.inputs.rope.copy_(inputs.rope);
  recorded.recording->replay();
  ops::count_attention(recorded.counts);
  return recorded.output->clone();
}

PassRecordings::Recorded PassRecordings::record(const Inputs& inputs, const Work& work) {
  const ops::HeldCounts counted;
  Recorded recorded;
  recorded.inputs = {inputs.x.clone(), inputs.t.clone(), inputs.rope.clone()};
  const auto output = std::make_shared<at::Tensor>();
  recorded.recording =
      recorder_->record([output, own = recorded.inputs, work] { *output = work(own); });
  recorded.output = output;
  recorded.counts = counted.runs();
  return recorded;
}

}  // namespace monarch::models
