// `monarch train`: a recipe's configuration, or the shapes model, stage by stage.
#include <ATen/Parallel.h>

#include <iostream>
#include <memory>

#include "apps/command.h"
#include "apps/device.h"
#include "apps/train_recipe.h"
#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/training/loss_curve.h"
#include "monarch/training/shapes_stages.h"
#include "monarch/training/stage_config.h"

namespace monarch::apps {
namespace {

struct TrainArguments {
  std::string recipe, stage, out, init, base, model = "models/shapes", size, attention = "monarch";
  training::ShapesStageOptions options;
  TrainRecipeArguments config;
};

void parse_size(const std::string& size, training::ShapesStageOptions& options) {
  if (size.empty()) return;
  const std::size_t cross = size.find('x');
  try {
    options.width = std::stoi(size.substr(0, cross));
    options.height = std::stoi(size.substr(cross + 1));
  } catch (const std::exception&) {
    options.width = 0;
  }
  MONARCH_CHECK(cross != std::string::npos && options.width > 0 && options.width % 16 == 0 &&
                    options.height > 0 && options.height % 16 == 0,
                "[train] --size must be WIDTHxHEIGHT, multiples of 16 (256x160, say), but is '",
                size, "'");
}

void run_stage(const std::string& stage, training::ShapesStageOptions options,
               const std::string& model) {
  options.stop = [] { return interrupted(); };
  if (options.mixed_precision && !multiplies_bfloat16(at::kCPU)) {
    std::cout << kFloat32Instead;
    options.mixed_precision = false;
  }
  if (stage == "tokenizer") return training::train_tokenizer_stage(options);
  if (stage == "export") {
    training::export_shapes_model(options, model);
    std::cout << "model written to " << model << '\n';
    return;
  }
  const training::TrainingResult result = stage == "text"  ? training::train_text_stage(options)
                                          : stage == "vae" ? training::train_vae_stage(options)
                                                           : training::train_dit_stage(options);
  training::draw_loss_curve(options.out / (stage + ".loss.jsonl"),
                            options.out / (stage + ".loss.svg"));
  std::cout << stage << ": " << result.step << " steps, loss " << result.loss
            << (result.stopped ? "; stopped, go on with --resume" : "") << '\n';
}

void run_shapes(TrainArguments& a) {
  MONARCH_CHECK(!a.stage.empty() && !a.out.empty(),
                "[train] shapes needs --stage (tokenizer, text, vae, dit or export) and --out");
  parse_size(a.size, a.options);
  a.options.out = a.out;
  a.options.init = a.init;
  a.options.base = a.base;
  a.options.monarch = a.attention == "monarch";
  training::check_stage(a.stage, a.options);
  run_stage(a.stage, a.options, a.model);
}

// A stage by its configuration; the command line's folder, iterations and --resume come first.
void run_stage_config(const TrainArguments& a) {
  training::StageConfig config = training::load_stage_config(a.config.config);
  if (!a.config.logdir.empty()) config.options.out = a.config.logdir;
  MONARCH_CHECK(!config.options.out.empty(), "[train] ", a.config.config,
                " has no logdir, the stages' working folder; give --logdir");
  if (a.config.iterations > 0) config.options.steps = a.config.iterations;
  config.options.resume = a.options.resume;
  run_stage(config.stage, config.options, config.model);
}

void run_train(TrainArguments& a) {
  MONARCH_CHECK(a.recipe.empty() != a.config.config.empty(),
                "[train] give either --config FILE.yaml, a recipe's configuration, or 'shapes' "
                "with its --stage");
  set_log_sink([](LogLevel /*level*/, std::string_view line) { std::cerr << line << std::endl; });
  if (!a.recipe.empty()) return run_shapes(a);
  if (training::is_stage_config(a.config.config)) return run_stage_config(a);
  a.config.resume = a.options.resume;
  run_train_recipe(a.config);
}

}  // namespace

void add_train(CLI::App& app) {
  auto a = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "train a model; resumable, on CPU");
  command->add_flag("--resume", a->options.resume, "continue from the saved state; exact");
  add_train_recipe_flags(*command, a->config);
  for (CLI::Option* option : command->get_options()) option->group("Recipes");
  command->add_option("recipe", a->recipe, "shapes: the shapes model, stage by stage")
      ->check(CLI::IsMember({"shapes"}));
  command->add_option("--stage", a->stage, "tokenizer, text, vae, dit, then export")
      ->check(CLI::IsMember({"tokenizer", "text", "vae", "dit", "export"}));
  command->add_option("--out", a->out, "working folder: states, latents, loss curves");
  command->add_option("--steps", a->options.steps, "steps in total, resumed runs included");
  command->add_option("--batch", a->options.batch, "samples a step");
  command->add_option("--lr", a->options.lr, "peak learning rate");
  command
      ->add_option("--decay-from", a->options.decay_from,
                   "part of the steps after which the rate falls")
      ->capture_default_str();
  command->add_option("--workers", a->options.workers, "threads, each with a part of the batch")
      ->capture_default_str();
  command->add_flag("--mixed-precision", a->options.mixed_precision,
                    "matrix products in bfloat16: faster on CPUs with AMX");
  command->add_option("--seed", a->options.seed, "seed of data, noise and first weights")
      ->capture_default_str();
  command->add_option("--crop", a->options.crop, "vae: pixels of a square clip")
      ->capture_default_str();
  command->add_flag("--decoder-only", a->options.decoder_only,
                    "vae: train the decoder of --init, keep its encoder");
  command->add_option("--frames", a->options.frames, "vae, dit: pixel frames, 1 + 4n")
      ->capture_default_str();
  command->add_option("--size", a->size, "dit: WIDTHxHEIGHT in pixels (256x160)");
  command->add_option("--attention", a->attention, "dit: monarch or dense")
      ->check(CLI::IsMember({"monarch", "dense"}))
      ->capture_default_str();
  command->add_option("--shift", a->options.shift, "dit: how far noise levels lean to noisy")
      ->capture_default_str();
  command->add_option("--pool", a->options.pool, "dit: videos whose latents are kept")
      ->capture_default_str();
  command->add_option("--image-pool", a->options.image_pool, "dit: images whose latents are kept")
      ->capture_default_str();
  command->add_option("--image-steps", a->options.image_steps, "dit: first steps, on images")
      ->capture_default_str();
  command
      ->add_option("--clip-steps", a->options.clip_steps,
                   "dit: steps after those, on three latent frames")
      ->capture_default_str();
  command
      ->add_option("--image-every", a->options.image_every,
                   "dit: later steps of which one is on images; 0: none")
      ->capture_default_str();
  command
      ->add_option("--latent-noise", a->options.latent_noise,
                   "vae: noise that the decoder learns to bear; less gives sharper outlines")
      ->capture_default_str();
  command
      ->add_option(
          "--kind-weight", a->options.kind_weight,
          "vae, dit: how much latents have to say what kind of shape they show; 0: nothing")
      ->capture_default_str();
  command
      ->add_option("--kind-noise", a->options.kind_noise,
                   "vae: noise through which they have to say it")
      ->capture_default_str();
  command->add_option("--base", a->base,
                      "a model folder; what is not in --out is taken from it (models/shapes)");
  command->add_option("--init", a->init,
                      "dit, vae: a saved state or a model folder to take the first weights from");
  command->add_option("--model", a->model, "export: the model folder to write")
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  monarch train --config configs/self_forcing_monarch_dmd.yaml --logdir logs/dmd\n"
      "  monarch train --config configs/shapes/vae.yaml --resume\n"
      "  monarch train shapes --stage dit --out runs/shapes --size 160x96 --resume");
  command->callback([a] { run_train(*a); });
}

}  // namespace monarch::apps
