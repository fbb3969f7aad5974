// One tiny random model for all tests of this program.
#pragma once

#include <string>

namespace monarch::testing {

// A folder that `monarch init --preset tiny` wrote.
const std::string& tiny_model();

// The configuration of a small Self-Forcing run with it, Monarch attention and videos of 32x32
// pixels in chunks of 3 latent frames; lines may follow.
std::string tiny_distillation(const std::string& prompts);

}  // namespace monarch::testing
