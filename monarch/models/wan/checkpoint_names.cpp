#include "monarch/models/wan/checkpoint_names.h"

#include <string_view>

#include "monarch/base/error.h"

namespace monarch::models {
namespace {

constexpr std::string_view kWrappers[] = {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.",
                                          "_orig_mod."};
constexpr std::string_view kModel = "model.";

bool has_group(const TensorMap& checkpoint, const std::string& group) {
  const auto first = checkpoint.lower_bound(group);
  return first != checkpoint.end() && first->first.starts_with(group);
}

std::string published_name(std::string name) {
  for (const std::string_view wrapper : kWrappers) {
    for (size_t at = name.find(wrapper); at != std::string::npos; at = name.find(wrapper)) {
      name.erase(at, wrapper.size());
    }
  }
  while (name.starts_with(kModel)) name.erase(0, kModel.size());
  return name;
}

}  // namespace

TensorMap transformer_tensors(const TensorMap& checkpoint, GeneratorChoice choice) {
  std::string group;
  if (choice == GeneratorChoice::kAveraged && has_group(checkpoint, "generator_ema.")) {
    group = "generator_ema.";
  } else if (has_group(checkpoint, "generator.")) {
    group = "generator.";
  } else if (has_group(checkpoint, "model.")) {
    group = "model.";
  }
  TensorMap tensors;
  for (const auto& [name, tensor] : checkpoint) {
    if (!name.starts_with(group)) continue;
    const std::string published = published_name(name.substr(group.size()));
    MONARCH_CHECK_CODE(tensors.emplace(published, tensor).second, kCorrupt,
                       "[monarch_models] the checkpoint has ", published, " twice, once as ", name);
  }
  return tensors;
}

}  // namespace monarch::models
