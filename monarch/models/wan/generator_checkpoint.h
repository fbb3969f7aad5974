// The transformer in what training leaves: dictionaries of several networks.
#pragma once

#include <filesystem>
#include <memory>

#include "monarch/io/checkpoint.h"

namespace monarch::models {

enum class GeneratorWeights {
  kAveraged,  // generator_ema where there is one
  kRaw,       // generator where there is one
};

// The tensors of one network: of `generator_ema`, `generator` and `model` the first that is there
// (kRaw: `generator_ema` last), without this part of their names; the checkpoint itself if it has
// none of the three. What is left of wrappers in the names is for wan_names.
std::shared_ptr<const io::Checkpoint> generator_of(
    const std::shared_ptr<const io::Checkpoint>& checkpoint, GeneratorWeights which);

}  // namespace monarch::models
