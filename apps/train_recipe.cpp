#include "apps/train_recipe.h"

#include <functional>
#include <iostream>
#include <optional>

#include "apps/device.h"
#include "apps/processes.h"
#include "apps/shipped.h"
#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/parallel/communicator.h"
#include "monarch/training/process_team.h"
#include "monarch/training/train_loop.h"
#include "monarch/training/train_setup.h"
#include "monarch/training/validation.h"

namespace monarch::apps {
namespace {

// Whether bfloat16 is worth its rounding on every process's device.
bool all_multiply_bfloat16(const at::Device& device, parallel::Communicator& group) {
  if (!device.is_cpu()) return true;
  const at::Tensor count = at::full({1}, multiplies_bfloat16(device) ? 1.0 : 0.0);
  group.all_reduce(count);
  return count.item<double>() == static_cast<double>(group.size());
}

void run(const TrainRecipeArguments& a, const parallel::Launch& launch,
         parallel::Communicator& group) {
  const at::AutoGradMode gradients(true);
  training::TrainConfig config =
      training::load_train_config(a.config, shipped_path("configs/default_config.yaml"));
  const at::Device device = device_of(a.device, launch.local_rank);
  const bool wanted_bfloat16 = config.mixed_precision;
  config.mixed_precision = wanted_bfloat16 && all_multiply_bfloat16(device, group);
  const training::ProcessTeam team(
      group, {.sharding = config.sharding,
              .local_size = launch.local_size,
              .sequence = config.sequence_parallel_size,
              .compute = config.mixed_precision ? at::kBFloat16 : at::kFloat});
  const bool leads = team.leads();
  if (!a.wandb_name.empty()) config.name = a.wandb_name;
  if (a.iterations > 0) config.num_training_iters = a.iterations;
  const std::string logdir = a.logdir.empty() ? "logs/" + config.name : a.logdir;
  if (leads)
    std::cout << "configuration " << config.name << ":\n" << config.resolved.dump(2) << std::endl;
  if (leads && wanted_bfloat16 && !config.mixed_precision) std::cout << kFloat32Instead;
  if (leads && !a.disable_wandb)
    std::cout << "Weights & Biases is not used; metrics go to " << logdir << "\n" << std::flush;

  training::TrainSetup setup(config, device, team);
  const auto batches = setup.open_data();
  training::RunFolder folder(logdir);
  std::optional<training::Validation> validation;
  std::function<void(std::int64_t)> validate;
  if (!a.no_visualize && !config.validation_prompts_file.empty()) {
    if (leads) validation.emplace(config, setup, logdir);
    validate = [&](std::int64_t step) {
      if (leads) return validation->run(step);
      setup.recipe().state();
    };
  }
  const training::LoopResult result = training::run_loop(setup.recipe(), *batches, folder,
                                                         {.iterations = config.num_training_iters,
                                                          .save_every = config.log_iters,
                                                          .save = !a.no_save,
                                                          .resume = a.resume,
                                                          .seed = config.seed,
                                                          .loss_limit = config.loss_limit,
                                                          .config = config.resolved,
                                                          .validate = validate,
                                                          .validate_every = config.validate_iters,
                                                          .stop = [] { return interrupted(); }},
                                                         team);
  if (!leads) return;
  std::cout << config.name << ": " << result.step << " iterations";
  if (!a.no_save) std::cout << ", " << folder.latest().string();
  std::cout << (result.stopped ? "; stopped, go on with --resume" : "") << '\n';
}

}  // namespace

void add_train_recipe_flags(CLI::App& command, TrainRecipeArguments& a) {
  command.add_option("--config,--config_path", a.config,
                     "YAML of a recipe (configs/*.yaml), over default_config.yaml beside it");
  command.add_option("--logdir", a.logdir,
                     "folder of checkpoints and metrics (default: logs/ and the config's name)");
  command.add_flag("--no_save,--no-save", a.no_save, "write no checkpoints");
  command.add_flag("--no_visualize,--no-visualize", a.no_visualize, "make no validation videos");
  command.add_option("--iterations", a.iterations,
                     "in total, instead of the config's num_training_iters");
  command.add_option("--device", a.device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--wandb_name,--wandb-name", a.wandb_name, "name of the run");
  command.add_option("--wandb-save-dir,--wandb_save_dir", a.wandb_save_dir, "without effect");
  command.add_flag("--disable-wandb,--disable_wandb", a.disable_wandb, "without effect");
}

void run_train_recipe(const TrainRecipeArguments& a) {
  const parallel::Launch launch = parallel::read_launch();
  share_cores(launch);
  together(launch, {}, [&](const auto& group) { run(a, launch, *group); });
}

}  // namespace monarch::apps
