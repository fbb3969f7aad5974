// `monarch compare`: is Monarch attention any good? Against dense attention and beside sparse
// methods, on synthetic maps, on what a model's layers see, or on a user's q, k and v.
#include <memory>

#include "apps/command.h"
#include "apps/compare/comparison_run.h"
#include "apps/shipped.h"

namespace monarch::apps {

void add_compare(CLI::App& app) {
  auto a = std::make_shared<CompareArguments>();
  a->model = kShapesModel;
  CLI::App* command = app.add_subcommand(
      "compare", "compare Monarch with dense and sparse attention: a report in one HTML file");
  command->add_option("--on", a->what, "synthetic, model (default: both)")
      ->check(CLI::IsMember({"synthetic", "model"}))
      ->delimiter(',');
  command->add_option("--synthetic-grid", a->synthetic_grid, "tokens: FRAMESxROWSxCOLUMNS")
      ->capture_default_str();
  command->add_option("--qkv", a->qkv,
                      "instead: a safetensors file of q, k, v [batch, tokens, heads, head_dim]");
  command->add_option("--grid", a->grid, "how the tokens of --qkv lie: FRAMESxROWSxCOLUMNS");
  command->add_option("--model", a->model, "model folder (bidirectional)")->capture_default_str();
  command->add_option("--config", a->config, "YAML over the folder's generate.yaml");
  command->add_option("--prompt-file", a->prompt_file,
                      "one prompt a line (default: held-out captions of the shapes world)");
  command->add_option("--steps", a->steps, "denoising steps (default: the model's)");
  command->add_option("--timesteps", a->timesteps, "denoising steps whose attention is captured")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--heads", a->heads, "heads captured at most, spread over layers and steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--videos", a->videos, "videos a method for end quality; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--queries", a->max_queries, "queries measured of each head")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--budget", a->budgets,
                   "parts of the keys that oracle top-k also keeps, beside those of as sparse "
                   "Monarch methods")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--seed", a->seed, "seed of captions, noise and synthetic heads")
      ->capture_default_str();
  command->add_option("--suggest", a->suggest,
                      "write the cheapest setting that keeps --psnr as a configuration file");
  command->add_option("--psnr", a->psnr, "dB against the videos of dense attention")
      ->capture_default_str();
  command->add_option("--output", a->output, "the report")->capture_default_str();
  command->add_option("--json", a->json, "also write the numbers here");
  command->add_flag("--quiet", a->quiet, "no progress");
  command->footer(
      "Examples:\n"
      "  monarch compare --output compare.html --json compare.json\n"
      "  monarch compare --qkv layer3.safetensors --grid 21x30x52\n"
      "  monarch compare --on model --videos 4 --suggest attention.yaml --psnr 30");
  command->callback([a] {
    a->model = shipped_path(a->model);
    ComparisonRun(*a).run();
  });
}

}  // namespace monarch::apps
