// Checks the weights of a model folder before anything is run.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/io/checkpoint.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/models/wan/weights.h"

namespace monarch::models {

struct VerifyOptions {
  bool names_only = false;  // names and shapes, without reading the weights
  // Called with each tensor before it is read; false ends the check (kCancelled).
  std::function<bool(const std::string& part, const std::string& tensor)> progress;
};

struct PartReport {
  std::string part;  // "transformer", "vae", "text_encoder", "tokenizer"
  std::string path;
  int64_t num_tensors = 0;
  int64_t num_parameters = 0;
  std::map<std::string, int64_t> dtypes;  // tensors of each type
  std::vector<std::string> problems;      // empty: the part is sound
};

// Everything wrong with the stored tensors: missing, unknown, misshapen, not floating, not finite,
// a wrong checksum. Names may be those of any distribution that wan_names knows.
PartReport verify_weights(const std::string& part, const io::Checkpoint& checkpoint,
                          const ShapeMap& expected, const VerifyOptions& options = {});

// All parts of a folder; a part that is missing or cannot be opened is a report with that problem.
std::vector<PartReport> verify_model(const ModelFolder& model, const VerifyOptions& options = {});

}  // namespace monarch::models
