// The folder of a training run:
//   checkpoint_model_000050/   model.safetensors      generator, critic, generator_ema
//                              optimizer.safetensors  moments and counts of the optimizers
//                              manifest.json          step, seed, data position, configuration, and
//                                                     size and SHA-256 of the two
//   metrics.jsonl              one line an iteration
//   events.out.tfevents.*      the same for TensorBoard
//
// A checkpoint is written under a temporary name and renamed when everything is on the disk: a kill
// or a full disk at any moment leaves the ones before it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "monarch/base/options_reader.h"
#include "monarch/io/event_file.h"
#include "monarch/models/wan/weights.h"
#include "monarch/training/recipe.h"

namespace monarch::training {

// What a run needs beside tensors to go on as if it had not stopped.
struct Progress {
  int64_t step = 0;     // iterations done
  int64_t batches = 0;  // taken from the data by each rank
  int64_t ranks = 1;    // that shared it
  std::uint64_t seed = 0;
  double seconds = 0;  // of work
};

struct SavedRun {
  std::filesystem::path path;
  Progress progress;
  models::TensorMap tensors;
};

class RunFolder {
 public:
  // Creates the folder. Throws kIo if it cannot be written.
  explicit RunFolder(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }

  // Returns the checkpoint's folder. Throws kIo (nothing is left behind) on a full disk.
  std::filesystem::path save(const Progress& progress, const models::TensorMap& state,
                             const Json& config) const;

  // The newest checkpoint that is whole, by size and hash; says which ones are not and goes on to
  // those before. Nothing if there is none.
  std::optional<SavedRun> load_latest() const;
  // The newest one without looking inside; empty if there is none.
  std::filesystem::path latest() const;

  // Appends to metrics.jsonl and to the events.
  void log(int64_t step, const Metrics& metrics, double seconds);
  // Drops lines of iterations after `step`, which a resumed run will do again.
  void rewind_log(int64_t step) const;

 private:
  std::vector<std::filesystem::path> checkpoints() const;  // newest first

  std::filesystem::path path_;
  std::unique_ptr<io::EventFile> events_;  // since the first line
};

}  // namespace monarch::training
