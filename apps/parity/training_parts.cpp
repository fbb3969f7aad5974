// Parity of the parts of training that need no network: schedule, timesteps, optimizer, averages,
// data order.
#include "apps/parity/training.h"
#include "apps/parity/training_case.h"
#include "monarch/base/error.h"
#include "monarch/io/checkpoint.h"
#include "monarch/io/prompts.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/training/data/lmdb_latents.h"
#include "monarch/training/data/sampler.h"

namespace monarch::apps {

ParityOutput run_flow_scheduler(const ParityInput& in) {
  const auto schedule_of = [](double shift) {
    return sampling::FlowMatchSchedule(sampling::FlowMatchConfig::self_forcing(shift));
  };
  const sampling::FlowMatchSchedule schedule = schedule_of(in.config().at("shift"));
  const at::Tensor clean = in.input("clean"), noise = in.input("noise");
  const at::Tensor timestep = in.input("timestep"), flow = in.input("flow_pred");
  const at::Tensor noisy = schedule.add_noise(clean, noise, timestep);
  const at::Tensor x0 = schedule.flow_to_x0(flow, noisy, timestep);
  const at::Tensor list = in.input("denoising_step_list");
  const std::vector<int64_t> steps(list.const_data_ptr<int64_t>(),
                                   list.const_data_ptr<int64_t>() + list.numel());
  const std::vector<float> warped = schedule.warp(steps);
  std::vector<int64_t> from, to;
  for (size_t exit = 0; exit < warped.size(); ++exit) {
    const auto range = training::step_range(warped, static_cast<int64_t>(exit), schedule);
    from.push_back(range.from);
    to.push_back(range.to);
  }
  const auto rows = [](const at::Tensor& t) { return t.slice(0, 1); };
  return {{"expect.timesteps", schedule.timesteps()},
          {"expect.sigmas", schedule.sigmas()},
          {"expect.training_weights", schedule.weights()},
          {"expect.nearest_index", schedule.index(timestep)},
          {"expect.noisy", noisy},
          {"expect.training_target", schedule.training_target(clean, noise)},
          {"expect.x0_pred", x0},
          {"expect.training_weight", schedule.training_weight(timestep)},
          {"expect.flow_pred_from_x0_with_shift_5_table",
           schedule_of(5.0).x0_to_flow(rows(x0), rows(noisy), rows(timestep))},
          {"expect.warped_denoising_steps", at::tensor(warped)},
          {"expect.denoised_timestep_from", at::tensor(from)},
          {"expect.denoised_timestep_to", at::tensor(to)}};
}

ParityOutput run_timestep_sampling(const ParityInput& in) {
  const Json& config = in.config();
  const double shift = config.at("shift");
  const int64_t frames = config.at("num_frames"), chunk = config.at("num_frame_per_block");
  const int64_t n = config.at("num_train_timestep");
  const sampling::FlowMatchSchedule schedule(sampling::FlowMatchConfig::self_forcing(shift));
  const at::Tensor uniform = in.input("uniform_draw"), block = in.input("block_draw");
  // The clamped form from the loss itself, which draws.
  struct OneDraw : RecordedDraws {
    using RecordedDraws::RecordedDraws;
    at::Tensor normal(const std::string& /*what*/, const pipelines::LatentShape& shape,
                      const at::TensorOptions& options) override {
      return at::zeros({shape.batch, shape.channels, shape.frames, shape.height, shape.width},
                       options);
    }
    at::Tensor integers(const std::string& /*what*/, int64_t low, int64_t high,
                        at::IntArrayRef shape) override {
      return RecordedDraws::integers("uniform_draw", low, high, shape);
    }
  } draws(in);
  const training::NoisyVideo noisy = training::noise_for_score(
      at::zeros({uniform.size(0), 1, frames, 1, 1}), {},
      {.num_train_timesteps = n, .timestep_shift = shift}, schedule, draws);
  const at::Tensor index = training::tie_chunks(block, chunk, /*independent_first_frame=*/false);
  const at::Tensor timestep = schedule.timesteps().index({index});
  const at::Tensor rounded = timestep.to(at::kBFloat16);
  return {{"expect.score_timestep", noisy.timestep},
          {"expect.score_timestep_unclamped",
           training::shift_timestep(uniform, shift, n).expand({-1, frames})},
          {"expect.block_index", index},
          {"expect.block_timestep", timestep},
          {"expect.block_weight", schedule.training_weight(timestep)},
          {"expect.block_timestep_bfloat16_as_float", rounded.to(at::kFloat)},
          {"expect.block_weight_after_bfloat16", schedule.training_weight(rounded)},
          {"expect.independent_first_index",
           training::tie_chunks(in.input("independent_first_draw"), chunk, true)},
          {"expect.uniform_index_timestep",
           schedule.timesteps().index({uniform}).expand({-1, frames})}};
}

ParityOutput run_ema_update(const ParityInput& in) {
  const Json& config = in.config();
  const int64_t steps = config.at("steps"), start = config.at("ema_start_step");
  ParityOutput out;
  for (const bool distils : {true, false}) {
    models::TensorMap parameters = in.with_prefix("input.initial.");
    training::Ema ema(in.with_prefix("input.initial_ema."), config.at("decay"));
    for (int64_t step = 0; step < steps; ++step) {
      for (const auto& [name, update] : in.with_prefix(str_cat("input.update.", step, '.')))
        parameters.at(name).add_(update);
      // As the recipes do it.
      if (!distils || step >= start) ema.update(parameters);
      if (step + 1 == start) ema.load(parameters);
      for (const auto& [name, tensor] : ema.average()) {
        out[str_cat("expect.", distils ? "score_distillation" : "diffusion", ".after_", step + 1,
                    '.', name)] = tensor.clone();
      }
    }
  }
  return out;
}

ParityOutput run_optimizer_step(const ParityInput& in) {
  static const training::Team alone;
  ParityOutput out;
  for (const auto& [set, values] : in.config().at("sets").items()) {
    models::TensorMap parameters;
    const models::TensorMap initial = in.with_prefix("input.param.");
    for (const auto& [name, tensor] : initial) parameters[name] = tensor.clone();
    training::UpdateOptions options{.lr = values.at("lr")};
    options.adamw.beta1 = values.at("beta1");
    options.adamw.beta2 = values.at("beta2");
    options.adamw.eps = in.config().at("eps");
    options.adamw.weight_decay = values.at("weight_decay");
    options.max_grad_norm = values.at("max_grad_norm");
    training::TrainedNetwork network(parameters, options, alone);
    for (int64_t step = 0; step < in.config().at("steps").get<int64_t>(); ++step) {
      for (const auto& [name, gradient] : in.with_prefix(str_cat("input.grad.", step, '.')))
        network.parameters().at(name).mutable_grad() = gradient;
      out[str_cat("expect.", set, ".grad_norm.", step)] = at::scalar_tensor(network.update());
    }
    for (const auto& [name, tensor] : network.parameters()) {
      out["expect." + set + ".param." + name] = tensor.detach();
      out["expect." + set + ".change." + name] = tensor.detach() - initial.at(name);
    }
  }
  return out;
}

ParityOutput run_distributed_sampler(const ParityInput& in) {
  ParityOutput out;
  for (const Json& set : in.config().at("sets")) {
    const int64_t n = set[0], world = set[1];
    const std::string name = str_cat("expect.", n, '_', world, '.');
    out[name + "permutation"] = at::tensor(training::data_order(n));
    for (int64_t rank = 0; rank < world; ++rank)
      out[name + std::to_string(rank)] = at::tensor(training::data_order(n, world, rank));
  }
  return out;
}

ParityOutput run_lmdb_sample(const ParityInput& in) {
  ParityOutput out;
  for (const auto& [name, wanted] : in.config().items()) {
    if (name == "text") {
      MONARCH_CHECK(
          io::read_prompts(in.file().parent_path() / wanted.at("path").get<std::string>()) ==
              wanted.at("prompts").get<std::vector<std::string>>(),
          "[parity] the prompts differ");
      continue;
    }
    const training::LmdbLatents data(in.file().parent_path() /
                                     wanted.at("path").get<std::string>());
    MONARCH_CHECK(data.size() == wanted.at("length").get<int64_t>(), "[parity] ", name, " has ",
                  data.size(), " rows, expected ", wanted.at("length").dump());
    for (int64_t i = 0; i < data.size(); ++i) {
      const auto at = static_cast<size_t>(i);
      MONARCH_CHECK(Json(data.place(i)) == wanted.at("index")[at] &&
                        data.prompt(i) == wanted.at("prompts")[at].get<std::string>(),
                    "[parity] row ", i, " of ", name, " differs in place or prompt");
      out[str_cat("expect.", name, ".ode_latent.", i)] = data.trajectory(i);
    }
    for (size_t shard = 0; shard < wanted.at("keys").size(); ++shard) {
      const io::LmdbFile& file = data.shard(static_cast<int64_t>(shard));
      const Json& keys = wanted.at("keys")[shard];
      MONARCH_CHECK(file.num_entries() == keys.size(), "[parity] ", name, " has ",
                    file.num_entries(), " records, expected ", keys.size());
      for (const auto& [key, bytes] : keys.items()) {
        MONARCH_CHECK(file.at(key).size() == bytes.get<size_t>(), "[parity] record ", key, " of ",
                      name, " has ", file.at(key).size(), " bytes");
      }
      for (const auto& [key, text] : wanted.at("shape_records")[shard].items())
        MONARCH_CHECK(file.text(key) == text.get<std::string>(), "[parity] record ", key, " of ",
                      name, " differs");
    }
  }
  return out;
}

// The sharded checkpoint; its converted form must hold the same.
ParityOutput run_checkpoint_sample(const ParityInput& in) {
  const auto folder = in.file().parent_path();
  const auto path = [&](const char* key) {
    return folder / in.config().at(key).get<std::string>();
  };
  const models::TensorMap sharded = models::to_tensors(io::open_checkpoint(path("directory")));
  const models::TensorMap converted = models::to_tensors(io::open_checkpoint(path("converted")));
  ParityOutput out;
  for (const auto& [name, tensor] : sharded) {
    MONARCH_CHECK(converted.contains(name) && converted.at(name).equal(tensor), "[parity] ", name,
                  " differs between the sharded checkpoint and its conversion");
    out["expect." + name] = tensor.clone();
  }
  return out;
}

}  // namespace monarch::apps
