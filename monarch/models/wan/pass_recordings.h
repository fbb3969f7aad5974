// Passes of a stream as recorded work: once the caches of a stream are full, every chunk does the
// same in the same memory, and only the inputs differ.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "monarch/ops/recorder.h"
#include "monarch/ops/usage.h"

namespace monarch::models {

class PassRecordings {
 public:
  struct Inputs {
    at::Tensor x, t, rope;
  };
  // What it uses lives as long as the recordings.
  using Work = std::function<at::Tensor(const Inputs&)>;

  explicit PassRecordings(std::shared_ptr<ops::Recorder> recorder);

  // work(inputs), recorded when it comes the second time. `key` and the inputs' shapes tell works
  // apart. `surroundings` are all else that a work uses, as numbers: the model, addresses of
  // caches. Others make all recordings void.
  at::Tensor run(std::vector<int64_t> key, const std::vector<int64_t>& surroundings,
                 const Inputs& inputs, const Work& work);

 private:
  struct Recorded {
    Inputs inputs;
    std::shared_ptr<const at::Tensor> output;
    std::vector<ops::AttentionRuns> counts;
    std::unique_ptr<ops::Recording> recording;  // null: seen once
  };

  Recorded record(const Inputs& inputs, const Work& work);

  std::shared_ptr<ops::Recorder> recorder_;
  std::vector<int64_t> surroundings_;
  std::map<std::vector<int64_t>, Recorded> recorded_;
};

}  // namespace monarch::models
