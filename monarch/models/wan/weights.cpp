#include "monarch/models/wan/weights.h"

#include <algorithm>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

// "2 missing: a, b; " with at most `kShown` names, so that a foreign checkpoint does not fill the
// screen.
std::string listed(const char* label, const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  if (names.empty()) return "";
  std::string text = str_cat("\n  ", names.size(), " ", label, ": ");
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i ? ", " : "") + names[i];
  }
  if (names.size() > kShown) text += str_cat(", and ", names.size() - kShown, " more");
  return text;
}

}  // namespace

WeightReader::WeightReader(const TensorMap& weights, std::string what)
    : weights_(weights), what_(std::move(what)) {}

at::Tensor WeightReader::take(const std::string& name, const Shape& shape) {
  used_.insert(name);
  const auto found = weights_.find(name);
  if (found == weights_.end()) {
    missing_.push_back(name);
  } else if (found->second.sizes() != at::IntArrayRef(shape)) {
    misshapen_.push_back(str_cat(name, " is ", shape_string(found->second.sizes()), ", needs ",
                                 shape_string(shape)));
  } else {
    return found->second;
  }
  return at::zeros({1}).expand(shape);
}

void WeightReader::finish() const {
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : weights_) {
    const bool ignored =
        std::any_of(ignored_.begin(), ignored_.end(),
                    [&](const std::string& prefix) { return name.starts_with(prefix); });
    if (!ignored && !used_.contains(name)) unused.push_back(name);
  }
  if (missing_.empty() && misshapen_.empty() && unused.empty()) return;
  fail(ErrorCode::kInvalidArgument, "[monarch_models] the weights do not fit the ", what_, ":",
       listed("missing", missing_), listed("misshapen", misshapen_), listed("unused", unused),
       "\n  check that the configuration belongs to this checkpoint");
}

}  // namespace monarch::models
