#include "monarch/models/wan/generator_checkpoint.h"

#include <algorithm>
#include <array>

#include "monarch/base/error.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::models {
namespace {

void erase_all(std::string& text, std::string_view part) {
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at)) {
    text.erase(at, part.size());
  }
}

std::string transformer_name(std::string name) {
  for (const char* infix : {"_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."}) {
    erase_all(name, infix);
  }
  if (name.starts_with("model.")) name.erase(0, std::string_view("model.").size());
  return name;
}

}  // namespace

TensorMap read_generator(const std::filesystem::path& path, GeneratorWeights which) {
  return read_generator(io::open_checkpoint(path), which, path.string());
}

TensorMap read_generator(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                         GeneratorWeights which, const std::string& where) {
  const auto holds = [&](const std::string& group) {
    return std::any_of(checkpoint->tensors().begin(), checkpoint->tensors().end(),
                       [&](const io::TensorEntry& entry) { return entry.name.starts_with(group); });
  };
  std::array<std::string, 3> groups = {"generator_ema.", "generator.", "model."};
  if (which == GeneratorWeights::kRaw) groups = {"generator.", "model.", "generator_ema."};
  const auto* group = std::find_if(groups.begin(), groups.end(), holds);
  const std::string prefix = group == groups.end() ? "" : *group;
  TensorMap weights;
  for (const io::TensorEntry& entry : checkpoint->tensors()) {
    if (!entry.name.starts_with(prefix)) continue;
    const std::string name = transformer_name(entry.name.substr(prefix.size()));
    const bool fresh = weights.emplace(name, to_tensor(entry, checkpoint)).second;
    MONARCH_CHECK_CODE(fresh, kCorrupt, "[monarch_models] ", where, " has two tensors called '",
                       name, "' once wrappers are removed; one was expected");
  }
  return weights;
}

}  // namespace monarch::models
