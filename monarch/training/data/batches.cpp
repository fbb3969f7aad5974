#include "monarch/training/data/batches.h"

#include <utility>

#include "monarch/training/data/sampler.h"

namespace monarch::training {

DataBatches::DataBatches(std::vector<std::string> prompts, TextEncoder encode, int64_t batch_size,
                         const Team& team)
    : prompts_(std::move(prompts)),
      encode_(std::move(encode)),
      batch_size_(batch_size),
      order_(data_order(static_cast<int64_t>(prompts_.size()), team.size(), team.rank())) {}

DataBatches::DataBatches(std::shared_ptr<const LatentData> data, TextEncoder encode,
                         int64_t batch_size, const Team& team, const at::TensorOptions& options)
    : data_(std::move(data)),
      encode_(std::move(encode)),
      batch_size_(batch_size),
      options_(options),
      order_(data_order(data_->size(), team.size(), team.rank())) {}

Batch DataBatches::next() {
  const auto samples = static_cast<int64_t>(order_.size());
  const int64_t batches = (samples + batch_size_ - 1) / batch_size_;  // of one pass
  const int64_t begin = position_ % batches * batch_size_;
  const int64_t end = std::min(begin + batch_size_, samples);
  ++position_;
  std::vector<std::string> prompts;
  std::vector<at::Tensor> latents;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t sample = order_[static_cast<size_t>(i)];
    prompts.push_back(data_ ? data_->prompt(sample) : prompts_[static_cast<size_t>(sample)]);
    if (data_) latents.push_back(data_->latents(sample));
  }
  Batch batch{.context = encode_(prompts), .latents = {}};
  if (data_) batch.latents = at::stack(latents).to(options_);
  return batch;
}

}  // namespace monarch::training
