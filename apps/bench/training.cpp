// One step of training: forward, backward, clipping and AdamW of the flow matching loss.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "apps/bench/works.h"
#include "monarch/ops/attention.h"
#include "monarch/training/recipes/diffusion.h"

namespace monarch::apps {
namespace {

// Of the gradient against that of composed operators in the same type: both round.
constexpr Tolerance kGradientTolerance{.f32 = 1e-4, .bf16 = 5e-2};

// The same batch again and again.
class OneBatch : public training::BatchSource {
 public:
  explicit OneBatch(training::Batch batch) : batch_(std::move(batch)) {}
  training::Batch next() override {
    ++position_;
    return batch_;
  }
  int64_t position() const override { return position_; }
  void seek(int64_t position) override { position_ = position; }

 private:
  training::Batch batch_;
  int64_t position_ = 0;
};

// A bidirectional model in training, with its data.
class Trainee {
 public:
  // The parameters are float32 on the device of the batch, whose type the products are in.
  Trainee(const models::WanConfig& config, const training::Batch& batch)
      : batch_(batch),
        batches_(batch),
        recipe_(config, /*causal=*/false, random_parameters(config, batch.latents.device()),
                {.levels = {}, .update = {.lr = 1e-6}, .ema = {.decay = 0}}, team_) {}

  void step() {
    const at::AutoGradMode gradients(true);
    training::SeededDraws draws(kBenchSeed, step_);
    recipe_.iterate(step_++, batches_, draws);
  }

  at::Tensor gradient() {
    const at::AutoGradMode gradients(true);
    training::SeededDraws draws(kBenchSeed, 0);
    recipe_.loss(batch_, draws).loss.backward();
    std::vector<at::Tensor> all;
    for (const auto& [name, parameter] : recipe_.parameters()) {
      if (!parameter.grad().defined()) continue;
      all.push_back(parameter.grad().flatten());
      parameter.mutable_grad().reset();
    }
    return at::cat(all);
  }

 private:
  static models::TensorMap random_parameters(const models::WanConfig& config, at::Device device) {
    models::TensorMap parameters =
        models::random_dit_weights(config, pipelines::seeded_generator(kBenchSeed));
    for (auto& [name, tensor] : parameters) tensor = tensor.to(device);
    return parameters;
  }

  training::Team team_;
  training::Batch batch_;
  OneBatch batches_;
  training::DiffusionRecipe recipe_;
  int64_t step_ = 0;
};

void bench_model(BenchReport& report, const Work& work, const models::WanConfig& config,
                 const std::vector<int64_t>& latents) {
  at::manual_seed(kBenchSeed);
  const at::TensorOptions options = report.tensor_options();
  const training::Batch batch{
      .context = at::randn({latents[0], config.text_len, config.text_dim}).to(options),
      .latents = at::randn(latents).to(options)};
  models::WanConfig monarch_config = config;
  monarch_config.monarch.enable = true;
  Trainee dense(config, batch);
  Trainee monarch(monarch_config, batch);
  const auto error = [](Trainee& trainee) {
    const at::Tensor fast = trainee.gradient();
    const ops::ComposedAttentionGuard guard;
    return relative_error(fast, trainee.gradient());
  };
  const double allowed = report.allowed(kGradientTolerance);
  report.run(work, {{"monarch-dense", [&] { dense.step(); }, [&] { return error(dense); }, allowed},
                    {"monarch-monarchrt", [&] { monarch.step(); }, [&] { return error(monarch); },
                     allowed},
                    {"composed-monarchrt", [&] {
                       const ops::ComposedAttentionGuard guard;
                       monarch.step();
                     }}});
}

}  // namespace

void bench_training(BenchReport& report, const TrainingBench& options) {
  if (options.shapes) {
    models::WanConfig shapes;
    shapes.dim = 128;
    shapes.ffn_dim = 512;
    shapes.freq_dim = 128;
    shapes.num_heads = 4;
    shapes.num_layers = 6;
    shapes.text_dim = 96;
    shapes.text_len = 40;
    bench_model(report,
                {.name = "train-step-shapes",
                 .shape = "shapes model, 8 videos of 6 latent frames of 16x24 (576 tokens each)"},
                shapes, {8, shapes.in_dim, 6, 16, 24});
  }
  if (options.wide) {
    models::WanConfig wide;
    wide.num_layers = 2;
    bench_model(report,
                {.name = "train-step-1.3B-widths",
                 .shape = "2 layers at 1.3B widths, 3 latent frames of 60x104 (4680 tokens)"},
                wide, {1, wide.in_dim, 3, 60, 104});
  }
}

}  // namespace monarch::apps
