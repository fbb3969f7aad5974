// One tiny random model for all tests of this program.
#pragma once

#include <string>

namespace monarch::testing {

// A folder that `monarch init --preset tiny` wrote.
const std::string& tiny_model();

}  // namespace monarch::testing
