#include "monarch/training/trained_network.h"

#include <cmath>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/training/checkpoint.h"

namespace monarch::training {
namespace {

std::shared_ptr<ShardedParameters> sharded(const models::TensorMap& parameters, const Team& team) {
  if (team.sharding() == nullptr) return nullptr;
  return std::make_shared<ShardedParameters>(parameters, *team.sharding(), /*trained=*/true);
}

models::TensorMap requiring_gradients(models::TensorMap parameters) {
  for (auto& [name, parameter] : parameters) parameter.set_requires_grad(true);
  return parameters;
}

}  // namespace

TrainedNetwork::TrainedNetwork(models::TensorMap parameters, UpdateOptions options,
                               const Team& team)
    : sharded_(sharded(parameters, team)),
      parameters_(sharded_ ? models::TensorMap() : requiring_gradients(std::move(parameters))),
      options_(options),
      team_(team),
      adamw_(updated(), options.adamw) {
  MONARCH_CHECK(!sharded_ || options_.adamw.decay_vectors,
                "[monarch_training] sharded parameters decay all or none; set decay_vectors");
}

const models::TensorMap& TrainedNetwork::parameters() const {
  return sharded_ ? sharded_->outside() : parameters_;
}

const models::TensorMap& TrainedNetwork::updated() const {
  return sharded_ ? sharded_->pieces() : parameters_;
}

double TrainedNetwork::update() {
  std::function<double(double)> sum_over_ranks;
  if (sharded_) {
    sharded_->collect_gradients();
    sum_over_ranks = [this](double value) { return sharded_->sum_over_pieces(value); };
  } else {
    team_.average_gradients(parameters_);
  }
  const double norm = clip_gradients(updated(), options_.max_grad_norm, sum_over_ranks);
  if (!std::isfinite(norm)) return norm;
  adamw_.step(options_.lr);
  if (sharded_) sharded_->pieces_changed();
  return norm;
}

models::TensorMap TrainedNetwork::whole(const models::TensorMap& updated) const {
  return sharded_ ? sharded_->whole_of(updated) : updated;
}

models::TensorMap TrainedNetwork::part(const models::TensorMap& whole,
                                       const std::string& what) const {
  return sharded_ ? sharded_->pieces_of(whole, what) : whole;
}

models::TensorMap TrainedNetwork::saved_optimizer() const {
  const models::TensorMap state = adamw_.state();
  if (!sharded_) return state;
  models::TensorMap saved;
  for (const char* moment : {"m.", "v."})
    saved.merge(add_prefix(whole(take_prefix(state, moment)), moment));
  if (saved.empty()) return saved;  // not the first rank
  // The tensors of a unit have been updated together.
  for (const auto& [unit, count] : take_prefix(state, "steps.")) {
    for (const std::string& name : sharded_->names_in(unit)) saved["steps." + name] = count;
  }
  return saved;
}

void TrainedNetwork::load(const models::TensorMap& parameters, const models::TensorMap& optimizer) {
  copy_into(updated(), part(parameters, "saved parameters"), "saved parameters");
  if (!sharded_) return adamw_.load_state(optimizer);
  models::TensorMap state;
  for (const char* moment : {"m.", "v."})
    state.merge(add_prefix(part(take_prefix(optimizer, moment), "saved moments"), moment));
  for (const auto& [unit, piece] : updated()) {
    const auto count = optimizer.find("steps." + sharded_->names_in(unit).front());
    if (count != optimizer.end()) state["steps." + unit] = count->second;
  }
  adamw_.load_state(state);
  sharded_->pieces_changed();
}

void TrainedNetwork::load(Ema& ema, const models::TensorMap& average) const {
  ema.load(part(average, "averaged weights"));
}

void copy_into(const models::TensorMap& into, const models::TensorMap& tensors,
               const std::string& what) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : into) {
    const auto found = tensors.find(name);
    MONARCH_CHECK(found != tensors.end() && found->second.sizes() == tensor.sizes(),
                  "[monarch_training] the ", what, " have no tensor '", name, "' of shape ",
                  shape_string(tensor.sizes()), "; they belong to another model");
    tensor.detach().copy_(found->second);
  }
}

}  // namespace monarch::training
