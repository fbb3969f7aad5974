#include "monarch/training/train_loop.h"

#include <cmath>
#include <random>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/base/timer.h"

namespace monarch::training {
namespace {

Progress start(IterativeRecipe& recipe, BatchSource& batches, const RunFolder& folder,
               const LoopOptions& options, const Team& team) {
  const bool leads = team.leads();
  if (!options.resume) {
    MONARCH_CHECK(!options.save || folder.latest().empty(), "[monarch_training] ",
                  folder.path().string(), " already holds ", folder.latest().filename().string(),
                  "; go on with --resume, or give another --logdir");
    Progress fresh{.ranks = team.size()};
    fresh.seed = options.seed != 0 ? options.seed : std::random_device{}() % 10'000'000 + 1;
    fresh.seed = static_cast<std::uint64_t>(team.agree(static_cast<int64_t>(fresh.seed)));
    if (leads) folder.rewind_log(0);
    return fresh;
  }
  const std::optional<SavedRun> saved = folder.load_latest();
  MONARCH_CHECK_CODE(saved.has_value(), kNotFound, "[monarch_training] ", folder.path().string(),
                     " has no whole checkpoint to resume; start without --resume");
  Progress progress = saved->progress;
  MONARCH_CHECK(team.agree(progress.step) == progress.step, "[monarch_training] rank ", team.rank(),
                " found ", saved->path.string(),
                ", rank 0 another checkpoint; all ranks must see the same folder");
  recipe.load_state(saved->tensors);
  // Another number of ranks goes on where the former ones were together.
  progress.batches = progress.batches * progress.ranks / team.size();
  progress.ranks = team.size();
  batches.seek(progress.batches);
  if (leads) {
    folder.rewind_log(progress.step);
    log_info("resumed ", saved->path.string(), " after ", progress.step, " iterations");
  }
  return progress;
}

void check_metrics(const Metrics& metrics, int64_t step, const RunFolder& folder, double limit) {
  for (const auto& [name, value] : metrics) {
    const bool loss = name.ends_with("_loss");
    if (std::isfinite(value) && (!loss || std::abs(value) <= limit)) continue;
    const std::filesystem::path good = folder.latest();
    fail(ErrorCode::kInternal, "[monarch_training] ", name, " became ", value, " in iteration ",
         step, "; the last good checkpoint is ", good.empty() ? "none" : good.string(),
         ". Lower the learning rate", good.empty() ? "" : " and --resume from there",
         std::isfinite(value) ? ", or raise loss_limit" : "");
  }
}

// Counts the samples that pass through.
class CountedBatches : public BatchSource {
 public:
  explicit CountedBatches(BatchSource& batches) : batches_(batches) {}
  Batch next() override {
    Batch batch = batches_.next();
    samples_ += batch.context.size(0);
    return batch;
  }
  int64_t position() const override { return batches_.position(); }
  void seek(int64_t position) override { batches_.seek(position); }
  int64_t samples() const { return samples_; }

 private:
  BatchSource& batches_;
  int64_t samples_ = 0;
};

}  // namespace

LoopResult run_loop(IterativeRecipe& recipe, BatchSource& batches, RunFolder& folder,
                    const LoopOptions& options, const Team& team) {
  Progress progress = start(recipe, batches, folder, options, team);
  const bool leads = team.leads();
  LoopResult result{.step = progress.step, .last = {}};
  const double seconds_before = progress.seconds;
  const int64_t first = progress.step;
  const Timer timer;
  double training = 0;  // seconds, without validation and saving
  while (progress.step < options.iterations && !result.stopped) {
    if (options.validate && progress.step % options.validate_every == 0)
      options.validate(progress.step);
    const Timer iteration;
    CountedBatches counted(batches);
    SeededDraws draws(progress.seed, progress.step, team.rank());
    result.last = recipe.iterate(progress.step, counted, draws);
    training += iteration.seconds();
    check_metrics(result.last, progress.step, folder, options.loss_limit);
    result.step = ++progress.step;
    progress.batches = batches.position();
    progress.seconds = seconds_before + timer.seconds();
    // Iterations differ, as those of score distillation do: the time left is that of the mean one.
    const double mean = training / static_cast<double>(progress.step - first);
    add_pace(result.last,
             static_cast<double>(counted.samples() * team.size()) / iteration.seconds(),
             mean * static_cast<double>(options.iterations - progress.step));
    if (leads) {
      folder.log(progress.step, result.last, progress.seconds);
      log_info("iteration ", progress.step, "/", options.iterations, console_text(result.last));
    }
    result.stopped = team.any(options.stop && options.stop());
    const bool due = progress.step % options.save_every == 0 || result.stopped ||
                     progress.step == options.iterations;
    if (options.save && due) {
      // Sharded state is collected by all ranks and written by the first.
      const models::TensorMap state = recipe.state();
      if (leads) log_info("saved ", folder.save(progress, state, options.config).string());
    }
  }
  return result;
}

}  // namespace monarch::training
