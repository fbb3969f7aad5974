// Transformer weights as training leaves them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "monarch/io/checkpoint.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

enum class GeneratorWeights {
  kAveraged,  // generator_ema where the file has it
  kRaw,       // generator where the file has it
};

// Weights under the transformer's own names, as stored (the tensors keep the file mapped).
// Understood are dictionaries with `generator_ema`, `generator` or `model` (looked for in this
// order; kRaw leaves the first out unless it is alone), bare dictionaries and plain safetensors. A
// leading `model.` is stripped, and the infixes of sharding, checkpointing and compilation
// (_fsdp_wrapped_module., _checkpoint_wrapped_module., _orig_mod.) are removed. Throws kCorrupt if
// two tensors end up with one name.
TensorMap read_generator(const std::filesystem::path& path,
                         GeneratorWeights which = GeneratorWeights::kAveraged);
TensorMap read_generator(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                         GeneratorWeights which, const std::string& where);

}  // namespace monarch::models
