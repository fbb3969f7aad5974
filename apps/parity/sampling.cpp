// Parity of what surrounds the networks: tokenizer, noise schedule and solvers.
#include "apps/parity/sampling.h"

#include "monarch/base/error.h"
#include "monarch/models/wan/tokenizer.h"
#include "monarch/sampling/flow_match.h"
#include "monarch/sampling/solver.h"

namespace monarch::apps {
namespace {

// Solves along the recorded model outputs and returns grid and trajectory.
ParityOutput replay_solver(const ParityInput& in, const std::string& name) {
  const Json& config = in.config();
  const auto expect = [&](const char* key, const Json& only) {
    MONARCH_CHECK(config.value(key, only) == only, "[parity] ", key, " ",
                  config.value(key, only).dump(), " is not supported; only ", only.dump());
  };
  expect("prediction_type", "flow_prediction");
  expect("final_sigmas_type", "zero");
  expect("predict_x0", true);
  expect("algorithm_type", "dpmsolver++");
  sampling::SolverOptions options;
  options.name = name;
  options.num_steps = config.at("steps").get<int64_t>();
  options.shift = config.at("shift").get<double>();
  options.num_train_timesteps = config.value("num_train_timesteps", options.num_train_timesteps);
  options.order = config.value("solver_order", options.order);
  options.solver_type = config.value("solver_type", options.solver_type);
  options.lower_order_final = config.value("lower_order_final", options.lower_order_final);

  const auto solver = sampling::make_solver(options);
  const at::Tensor model_outputs = in.input("model_outputs");
  at::Tensor x = in.input("sample");
  std::vector<at::Tensor> samples;
  for (int64_t i = 0; i < solver->num_steps(); ++i) {
    x = solver->step(model_outputs[i], x);
    samples.push_back(x);
  }
  const std::vector<float> timesteps(solver->timesteps().begin(), solver->timesteps().end());
  return {{"expect.samples", at::stack(samples)},
          {"expect.sigmas", at::tensor(solver->sigmas(), at::kDouble).to(at::kFloat)},
          {"expect.timesteps", at::tensor(timesteps)}};
}

}  // namespace

ParityOutput run_tokenizer(const ParityInput& in) {
  const Json& config = in.config();
  const auto model = in.file().parent_path() / config.at("model_file").get<std::string>();
  const auto seq_len = config.at("seq_len").get<int64_t>();
  std::vector<std::string> texts;
  for (const Json& entry : config.at("strings"))
    texts.push_back(entry.at("text").get<std::string>());

  const models::Tokenizer tokenizer(model, seq_len, config.at("byte_fallback").get<bool>());
  const auto check_id = [&](const char* key, int64_t got) {
    MONARCH_CHECK(config.at(key).get<int64_t>() == got, "[parity] ", key, " is ", got,
                  " in the model, but ", config.at(key).dump(), " in the case");
  };
  check_id("vocab_size", tokenizer.vocab_size());
  check_id("pad_id", tokenizer.pad_id());
  check_id("eos_id", tokenizer.eos_id());
  check_id("bos_id", tokenizer.bos_id());
  check_id("unk_id", tokenizer.unk_id());
  const models::TokenBatch batch = tokenizer.encode(texts);
  const models::TokenBatch plain = models::Tokenizer(model, seq_len, false).encode(texts);
  return {{"expect.ids", batch.ids},
          {"expect.mask", batch.mask},
          {"expect.ids_no_byte_fallback", plain.ids},
          {"expect.mask_no_byte_fallback", plain.mask}};
}

ParityOutput run_flow_match_scheduler(const ParityInput& in) {
  const sampling::FlowMatchSchedule schedule(sampling::FlowMatchConfig::from_json(in.config()));
  const at::Tensor sample = in.input("sample");
  const at::Tensor noise = in.input("noise");
  const at::Tensor model_output = in.input("model_output");
  const at::Tensor timestep = in.input("timestep");
  ParityOutput out = {
      {"expect.sigmas", schedule.sigmas()},
      {"expect.timesteps", schedule.timesteps()},
      {"expect.add_noise", schedule.add_noise(sample, noise, timestep)},
      {"expect.training_target", schedule.training_target(sample, noise)},
      {"expect.step", schedule.step(model_output, in.input("timestep_no_last"), sample)},
      {"expect.step_with_last",
       schedule.step(model_output, in.input("timestep_with_last"), sample)},
      {"expect.step_to_final",
       schedule.step(model_output, in.input("timestep_no_last"), sample, true)},
      {"expect.flow_to_x0", schedule.flow_to_x0(model_output, sample, timestep)},
      {"expect.x0_to_flow",
       schedule.x0_to_flow(model_output, sample, in.input("timestep_nonzero_sigma"))}};
  if (schedule.config().training) {
    out["expect.weights"] = schedule.weights();
    out["expect.training_weight"] = schedule.training_weight(timestep);
  }
  return out;
}

ParityOutput run_unipc(const ParityInput& in) { return replay_solver(in, "unipc"); }
ParityOutput run_dpmpp(const ParityInput& in) { return replay_solver(in, "dpm++"); }

}  // namespace monarch::apps
