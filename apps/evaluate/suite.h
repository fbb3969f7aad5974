// Files of `monarch evaluate shapes --suite`: the models to measure, and what each is compared
// with.
//
//   baseline: teacher
//   settings: {width: 256, height: 144, num_frames: 21}     # for all entries
//   entries:
//     - {name: teacher, model: models/shapes, settings: {monarch_args: {enable: false}}}
//     - name: student
//       about: four steps, causal
//       config: configs/shapes/self_forcing_dmd.yaml
//       checkpoint: logs/self_forcing_dmd/checkpoint_model_000500
//       use_ema: true
//       against: teacher                                    # instead of the baseline
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "monarch/pipelines/generation_options.h"
#include "monarch/pipelines/wan_system.h"

namespace monarch::apps {

struct SuiteEntry {
  std::string name, about;
  std::string reference;  // the entry that it is compared with; empty: none
  std::filesystem::path model = {};
  pipelines::WanSystemOptions system = {};  // checkpoint and which of its weights
  pipelines::GenerationOptions options = {};
  std::string missing = {};  // a file or folder that is not there (yet); options are unset then
};

// Entries in the order of the file, but the baseline first. Throws one clear error for unknown
// keys, names that are not unique or not there, an entry without model and config, and sizes that
// differ between entries.
std::vector<SuiteEntry> read_suite(const std::filesystem::path& file);

}  // namespace monarch::apps
