// The transformer's parameters in the checkpoints people have: published files, and training
// checkpoints with several networks and wrapped names.
#pragma once

#include <optional>
#include <string>

#include "monarch/models/wan/weights.h"

namespace monarch::models {

enum class GeneratorChoice {
  kRaw,       // `generator`
  kAveraged,  // `generator_ema` where present, else `generator`
};

// Keeps one network and gives its parameters their published names: of the groups generator_ema,
// generator and model the first that is present (generator_ema only if asked for), else everything;
// then wrapper parts (_fsdp_wrapped_module., _checkpoint_wrapped_module., _orig_mod.) and leading
// "model." are removed. Throws if two tensors end up with one name.
TensorMap transformer_tensors(const TensorMap& checkpoint, GeneratorChoice choice);

}  // namespace monarch::models
