#include "monarch/training/trainer.h"

#include <ATen/autocast_mode.h>

#include <cmath>
#include <fstream>
#include <future>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/base/timer.h"
#include "monarch/io/event_file.h"
#include "monarch/training/checkpoint.h"
#include "monarch/training/ema.h"
#include "monarch/training/metrics.h"

namespace monarch::training {
namespace {

std::filesystem::path state_path(const Recipe& recipe, const TrainerOptions& options) {
  return options.out / (recipe.name() + ".state.safetensors");
}

// Muon for the matrices that options.muon names, AdamW for the rest.
class Optimizer {
 public:
  Optimizer(const models::TensorMap& parameters, const TrainerOptions& options)
      : muon_(
            parameters, options.muon ? options.muon : [](const std::string&) { return false; },
            options.muon_options),
        adamw_(without(parameters, muon_.state()), options.adamw) {}

  void step(double lr) {
    muon_.step(lr);
    adamw_.step(lr);
  }
  models::TensorMap state() const {
    models::TensorMap state = add_prefix(adamw_.state(), "adamw.");
    state.merge(add_prefix(muon_.state(), "muon."));
    return state;
  }
  void load_state(const models::TensorMap& state) {
    adamw_.load_state(take_prefix(state, "adamw."));
    muon_.load_state(take_prefix(state, "muon."));
  }

 private:
  static models::TensorMap without(models::TensorMap parameters, const models::TensorMap& muon) {
    for (const auto& [name, momentum] : take_prefix(muon, "momentum.")) parameters.erase(name);
    return parameters;
  }

  Muon muon_;
  AdamW adamw_;
};

void save_state(const Recipe& recipe, const TrainerOptions& options, int64_t step, double seconds,
                const Optimizer& optimizer, const Ema& ema) {
  models::TensorMap tensors = add_prefix(recipe.parameters(), "param.");
  tensors.merge(add_prefix(ema.average(), "ema."));
  tensors.merge(optimizer.state());
  save_tensors(state_path(recipe, options), tensors,
               {{"recipe", recipe.name()},
                {"step", std::to_string(step)},
                {"seconds", std::to_string(seconds)}});
}

// Returns the number of steps done before and the wall time they took.
std::pair<int64_t, double> load_state(const Recipe& recipe, const TrainerOptions& options,
                                      Optimizer& optimizer, Ema& ema) {
  const TrainingState state = load_tensors(state_path(recipe, options));
  const auto found = state.metadata.find("recipe");
  MONARCH_CHECK(found != state.metadata.end() && found->second == recipe.name(),
                "[monarch_training] ", state_path(recipe, options).string(),
                " is not a state of the recipe '", recipe.name(), "'");
  const at::NoGradGuard no_grad;
  const models::TensorMap saved = take_prefix(state.tensors, "param.");
  for (const auto& [name, parameter] : recipe.parameters()) {
    const auto entry = saved.find(name);
    MONARCH_CHECK(entry != saved.end() && entry->second.sizes() == parameter.sizes(),
                  "[monarch_training] the saved state has no parameter '", name, "' of shape ",
                  shape_string(parameter.sizes()),
                  "; it belongs to another model, so start without --resume");
    parameter.detach().copy_(entry->second);
  }
  ema.load(take_prefix(state.tensors, "ema."));
  optimizer.load_state(state.tensors);
  return {std::stoll(state.metadata.at("step")), std::stod(state.metadata.at("seconds"))};
}

// Matrix products of this thread in bfloat16 while it lives; everything else stays as it is.
class Autocast {
 public:
  explicit Autocast(bool enable)
      : was_enabled_(at::autocast::is_autocast_enabled(at::kCPU)),
        was_cached_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    // A cached copy of a parameter would outlive the step that changes it.
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::set_autocast_enabled(at::kCPU, enable);
  }
  ~Autocast() {
    at::autocast::set_autocast_enabled(at::kCPU, was_enabled_);
    at::autocast::set_autocast_cache_enabled(was_cached_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool was_enabled_, was_cached_;
};

// Runs the parts of a step's batch, each on a thread and on leaves of its own, and leaves the mean
// gradient in parameters[..].grad(). The order of summation is fixed, so the result does not depend
// on which thread is faster.
class Workers {
 public:
  Workers(const models::TensorMap& parameters, int64_t count, bool mixed_precision)
      : mixed_precision_(mixed_precision) {
    for (int64_t i = 0; i < count; ++i) {
      models::TensorMap leaves;
      for (const auto& [name, parameter] : parameters)
        leaves[name] = parameter.detach().set_requires_grad(true);
      leaves_.push_back(std::move(leaves));
    }
  }

  // Returns the mean loss.
  double run(const Recipe& recipe, int64_t step) {
    const auto count = static_cast<int64_t>(leaves_.size());
    std::vector<std::future<double>> others;
    const auto run_part = [&](int64_t part) {
      const Autocast autocast(mixed_precision_);
      const at::Tensor loss =
          recipe.loss(leaves_[static_cast<std::size_t>(part)], step, part, count);
      loss.backward();
      return loss.item<double>();
    };
    for (int64_t part = 1; part < count; ++part)
      others.push_back(std::async(std::launch::async, run_part, part));
    double sum = run_part(0);
    for (auto& other : others) sum += other.get();
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : recipe.parameters()) {
      at::Tensor total;
      for (auto& leaves : leaves_) {
        at::Tensor& gradient = leaves.at(name).mutable_grad();
        if (gradient.defined()) total = total.defined() ? total.add_(gradient) : gradient;
        gradient = at::Tensor();
      }
      if (total.defined()) parameter.mutable_grad() = total.div_(static_cast<double>(count));
    }
    return sum / static_cast<double>(count);
  }

 private:
  bool mixed_precision_;
  std::vector<models::TensorMap> leaves_;
};

}  // namespace

double scheduled_lr(const TrainerOptions& options, int64_t step) {
  const auto at = static_cast<double>(step);
  const auto total = static_cast<double>(options.steps);
  double factor = 1.0;
  if (step < options.warmup) factor = (at + 1) / static_cast<double>(options.warmup);
  const double decay_start = options.decay_from * total;
  if (at > decay_start)
    factor = std::min(factor, std::max(0.01, (total - at) / (total - decay_start)));
  return options.lr * factor;
}

TrainingResult train(Recipe& recipe, const TrainerOptions& options) {
  std::filesystem::create_directories(options.out);
  Optimizer optimizer(recipe.parameters(), options);
  Ema ema(recipe.parameters(), options.ema_decay);
  int64_t first = 0;
  double seconds_before = 0;
  if (options.resume) std::tie(first, seconds_before) = load_state(recipe, options, optimizer, ema);
  std::ofstream curve(options.out / (recipe.name() + ".loss.jsonl"),
                      options.resume ? std::ios::app : std::ios::trunc);
  MONARCH_CHECK_CODE(curve.good(), kIo, "[monarch_training] cannot write the loss curve into ",
                     options.out.string());
  std::filesystem::create_directories(options.out / recipe.name());
  io::EventFile events(options.out / recipe.name());

  Workers workers(recipe.parameters(), options.workers, options.mixed_precision);
  const int threads_before = at::get_num_threads();
  at::set_num_threads(1);
  TrainingResult result;
  result.step = first;
  const Timer timer;
  Timer since_save;
  Timer since_log;
  double loss_sum = 0;
  int64_t summed = 0, samples = 0;
  for (int64_t step = first; step < options.steps && !result.stopped; ++step) {
    const double value = workers.run(recipe, step);
    MONARCH_CHECK_CODE(std::isfinite(value), kInternal, "[monarch_training] the loss of ",
                       recipe.name(), " became ", value, " at step ", step,
                       "; lower the learning rate and resume from the last state");
    const double norm = clip_gradients(recipe.parameters(), options.clip);
    optimizer.step(scheduled_lr(options, step));
    ema.update(recipe.parameters(), step);
    result.step = step + 1;
    loss_sum += value;
    ++summed;
    samples += recipe.samples(step);
    result.stopped = options.stop && options.stop();
    if (result.step % options.log_every == 0 || result.step == options.steps || result.stopped) {
      result.loss = loss_sum / static_cast<double>(summed);
      const double rate = static_cast<double>(samples) / since_log.seconds();
      Metrics metrics{
          {"loss", result.loss}, {"lr", scheduled_lr(options, step)}, {"grad_norm", norm}};
      add_pace(metrics, rate,
               since_log.seconds() / static_cast<double>(summed) *
                   static_cast<double>(options.steps - result.step));
      log_info(recipe.name(), " step ", result.step, "/", options.steps, console_text(metrics));
      events.write(result.step, metrics);
      metrics.emplace_back("seconds", seconds_before + timer.seconds());
      curve << json_line(result.step, metrics) << '\n' << std::flush;
      since_log.restart();
      loss_sum = 0;
      summed = samples = 0;
    }
    if (since_save.seconds() > options.save_every_seconds || result.step == options.steps ||
        result.stopped) {
      save_state(recipe, options, result.step, seconds_before + timer.seconds(), optimizer, ema);
      since_save.restart();
    }
  }
  at::set_num_threads(threads_before);
  for (const auto& [name, tensor] : ema.average()) result.average[name] = tensor.clone();
  return result;
}

}  // namespace monarch::training
