// `monarch train --config`: the papers' recipes.
#pragma once

#include <cstdint>
#include <string>

#include "apps/command.h"

namespace monarch::apps {

struct TrainRecipeArguments {
  std::string config, logdir, device = "cpu";
  bool no_save = false, no_visualize = false, resume = false;
  std::int64_t iterations = 0;  // 0: as the configuration says
  // Taken as the originals' scripts give them.
  std::string wandb_save_dir, wandb_name;
  bool disable_wandb = false;
};

void add_train_recipe_flags(CLI::App& command, TrainRecipeArguments& arguments);

void run_train_recipe(const TrainRecipeArguments& arguments);

}  // namespace monarch::apps
