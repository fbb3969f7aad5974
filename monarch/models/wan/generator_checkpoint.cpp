#include "monarch/models/wan/generator_checkpoint.h"

#include <algorithm>
#include <array>
#include <string>

namespace monarch::models {
namespace {

// The tensors whose names begin with `prefix`, without it.
class Group final : public io::Checkpoint {
 public:
  Group(std::shared_ptr<const io::Checkpoint> all, const std::string& prefix)
      : all_(std::move(all)) {
    std::vector<io::TensorEntry> tensors;
    for (const io::TensorEntry& tensor : all_->tensors()) {
      if (!tensor.name.starts_with(prefix)) continue;
      tensors.push_back(tensor);
      tensors.back().name.erase(0, prefix.size());
    }
    metadata_ = all_->metadata();
    set_tensors(std::move(tensors), prefix);
  }
  void check_integrity() const override { all_->check_integrity(); }

 private:
  std::shared_ptr<const io::Checkpoint> all_;
};

}  // namespace

std::shared_ptr<const io::Checkpoint> generator_of(
    const std::shared_ptr<const io::Checkpoint>& checkpoint, GeneratorWeights which) {
  std::array<std::string, 3> groups = {"generator_ema.", "generator.", "model."};
  if (which == GeneratorWeights::kRaw) groups = {"generator.", "model.", "generator_ema."};
  for (const std::string& group : groups) {
    const auto inside = [&](const io::TensorEntry& tensor) {
      return tensor.name.starts_with(group);
    };
    if (std::ranges::any_of(checkpoint->tensors(), inside)) {
      return std::make_shared<const Group>(checkpoint, group);
    }
  }
  return checkpoint;
}

}  // namespace monarch::models
