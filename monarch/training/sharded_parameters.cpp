#include "monarch/training/sharded_parameters.h"

#include <algorithm>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/models/wan/layer_names.h"

namespace monarch::training {
namespace {

// Reductions under way hold a layer's gradients each.
constexpr size_t kReductions = 2;

// Everything that shares memory with `tensor` has that of `from` now, which loses it.
void take_memory(const at::Tensor& tensor, const at::Tensor& from) {
  tensor.storage().unsafeGetStorageImpl()->set_data_ptr_noswap(
      from.storage().unsafeGetStorageImpl()->set_data_ptr({}));
}

}  // namespace

// A layer whose memory comes and goes, if it lies in one flat array; one without stays.
class ShardedParameters::Held : public models::HeldLayer {
 public:
  Held(std::shared_ptr<ShardedParameters> owner, size_t layer, models::TensorMap tensors,
       at::Tensor flat = {})
      : owner_(std::move(owner)),
        layer_(layer),
        tensors_(std::move(tensors)),
        flat_(std::move(flat)) {}

  const models::TensorMap& tensors() const override { return tensors_; }

  void leave() override {
    if (flat_.defined()) take_memory(flat_, at::empty({0}, flat_.options()));
  }

  void come_back() override {
    if (!flat_.defined()) return;
    take_memory(flat_, owner_->gathered(layer_));
    if (layer_ > 0) owner_->start_gathering(layer_ - 1);
    owner_->last_ = layer_;
  }

  void gradients_are_ready() override {
    if (owner_->trained_) owner_->reduce(owner_->unit_of(layer_), tensors_);
    leave();
  }

 private:
  std::shared_ptr<ShardedParameters> owner_;
  size_t layer_;
  models::TensorMap tensors_;
  at::Tensor flat_;
};

ShardedParameters::ShardedParameters(const models::TensorMap& whole, const Sharding& sharding,
                                     bool trained)
    : sharding_(sharding), trained_(trained) {
  units_.push_back({.name = "outside", .shapes = {}});
  for (const auto& [name, tensor] : whole) {
    const std::optional<size_t> layer = models::layer_of(name);
    const size_t index = layer ? *layer + 1 : 0;
    while (units_.size() <= index)
      units_.push_back({.name = str_cat("blocks.", units_.size() - 1), .shapes = {}});
    units_[index].shapes[name] = tensor.sizes().vec();
    units_[index].numel += tensor.numel();
    if (!layer) outside_[name] = tensor.detach().clone().set_requires_grad(trained);
  }
  for (Unit& unit : units_) {
    MONARCH_CHECK(unit.numel > 0, "[monarch_training] nothing to shard in ", unit.name,
                  " of the parameters; layers are blocks.0, blocks.1, ...");
    unit.piece = (unit.numel + sharding_.shard->size() - 1) / sharding_.shard->size();
  }
  pieces_ = pieces_of(whole, "parameters");
  for (auto& [name, piece] : pieces_) piece.set_requires_grad(trained);
}

at::Tensor ShardedParameters::flat(const Unit& unit, const models::TensorMap& tensors,
                                   at::ScalarType type) const {
  const at::Tensor& any = tensors.at(unit.shapes.begin()->first);
  const at::Tensor all =
      at::zeros({unit.piece * sharding_.shard->size()}, any.options().dtype(type));
  int64_t at = 0;
  for (const auto& [name, shape] : unit.shapes) {
    const int64_t numel = c10::multiply_integers(shape);
    const at::Tensor& tensor = tensors.at(name);
    if (tensor.defined()) all.narrow(0, at, numel).copy_(tensor.detach().flatten());
    at += numel;
  }
  return all;
}

models::TensorMap ShardedParameters::leaves(size_t layer, const at::Tensor& flat) const {
  models::TensorMap tensors = unpacked(unit_of(layer), flat);
  for (auto& [name, tensor] : tensors) tensor = tensor.detach().set_requires_grad(trained_);
  return tensors;
}

models::TensorMap ShardedParameters::unpacked(const Unit& unit, const at::Tensor& flat) const {
  models::TensorMap tensors;
  int64_t at = 0;
  for (const auto& [name, shape] : unit.shapes) {
    const int64_t numel = c10::multiply_integers(shape);
    tensors[name] = flat.narrow(0, at, numel).view(shape);
    at += numel;
  }
  return tensors;
}

void ShardedParameters::start_gathering(size_t layer) {
  const at::NoGradGuard no_grad;
  const at::Tensor& piece = pieces_.at(unit_of(layer).name);
  const at::ScalarType type = sharding_.compute;
  // One process gathers its own tensor, whose memory must stay where it is.
  const bool copy = sharding_.shard->size() == 1;
  under_way_ = sharding_.shard->start_all_gather(piece.detach().to(type, false, copy));
  ahead_ = layer;
}

at::Tensor ShardedParameters::gathered(size_t layer) {
  if (ahead_ != layer) {
    if (under_way_) under_way_->wait();  // of a pass that went another way
    start_gathering(layer);
  }
  at::Tensor all = under_way_->wait();
  under_way_.reset();
  ahead_.reset();
  return all;
}

// Forward passes go up, backward passes down; the last layer taken again begins a backward pass.
void ShardedParameters::gather_ahead(size_t layer, bool again) {
  const size_t layers = units_.size() - 1;
  const bool down = layer > 0 && (layer + 1 == layers ? again : layer < last_);
  const bool up = !down && (layer == 0 ? last_ != 1 : true) && layer + 1 < layers;
  if (down) start_gathering(layer - 1);
  if (up) start_gathering(layer + 1);
}

const models::TensorMap& ShardedParameters::take(size_t layer) {
  const auto found = std::find_if(taken_.begin(), taken_.end(),
                                  [&](const Layer& taken) { return taken.index == layer; });
  const bool again = found != taken_.end();
  if (!again) {
    const at::NoGradGuard no_grad;
    const at::Tensor all = gathered(layer);
    if (!sharding_.keep_layers) taken_.clear();
    taken_.push_back({layer, leaves(layer, all)});
  }
  if (!sharding_.keep_layers && !under_way_) gather_ahead(layer, again);
  last_ = layer;
  return again ? found->tensors : taken_.back().tensors;
}

std::shared_ptr<models::HeldLayer> ShardedParameters::hold(size_t layer) {
  const auto owner = shared_from_this();
  if (sharding_.keep_layers) return std::make_shared<Held>(owner, layer, take(layer));
  const at::NoGradGuard no_grad;
  const at::Tensor all = gathered(layer);
  if (layer + 2 < units_.size()) start_gathering(layer + 1);
  last_ = layer;
  return std::make_shared<Held>(owner, layer, leaves(layer, all), all);
}

void ShardedParameters::reduce(const Unit& unit, const models::TensorMap& tensors) {
  const at::NoGradGuard no_grad;
  models::TensorMap gradients;
  for (const auto& [name, tensor] : tensors) gradients[name] = tensor.grad();
  // The first gradient decides where the sum is made; a unit without any adds zeros.
  at::Tensor& first = gradients.at(unit.shapes.begin()->first);
  if (!first.defined()) first = at::zeros_like(tensors.begin()->second);
  const at::Tensor all = flat(unit, gradients, pieces_.at(unit.name).scalar_type());
  for (const auto& [name, tensor] : tensors) tensor.mutable_grad().reset();
  while (reductions_.size() >= kReductions) finish_oldest_reduction();
  reductions_.push_back({&unit, sharding_.shard->start_reduce_scatter(all)});
}

void ShardedParameters::finish_oldest_reduction() {
  const at::NoGradGuard no_grad;
  const Reduction oldest = std::move(reductions_.front());
  reductions_.pop_front();
  const at::Tensor sum = oldest.sum->wait();
  at::Tensor& gradient = pieces_.at(oldest.unit->name).mutable_grad();
  if (gradient.defined()) {
    gradient += sum;
  } else {
    gradient = sum;
  }
}

void ShardedParameters::gradients_are_ready(size_t layer) {
  if (!trained_) return;
  const auto found = std::find_if(taken_.begin(), taken_.end(),
                                  [&](const Layer& taken) { return taken.index == layer; });
  MONARCH_CHECK_CODE(found != taken_.end(), kInternal, "[monarch_training] gradients of layer ",
                     layer, ", which is not there");
  reduce(unit_of(layer), found->tensors);
}

void ShardedParameters::collect_gradients() {
  const at::NoGradGuard no_grad;
  reduce(units_.front(), outside_);
  while (!reductions_.empty()) finish_oldest_reduction();
  const int64_t copies = sharding_.replicas ? sharding_.replicas->size() : 1;
  for (auto& [name, piece] : pieces_) {
    at::Tensor& gradient = piece.mutable_grad();
    if (!gradient.defined()) gradient = at::zeros_like(piece);
    if (sharding_.replicas) sharding_.replicas->all_reduce(gradient);
    gradient.div_(static_cast<double>(sharding_.shard->size() * copies / sharding_.sequence));
  }
}

double ShardedParameters::sum_over_pieces(double value) const {
  const at::Tensor sum = at::full({1}, value, at::kDouble);
  sharding_.shard->all_reduce(sum);
  return sum.item<double>();
}

void ShardedParameters::pieces_changed() {
  const at::NoGradGuard no_grad;
  if (under_way_) under_way_->wait();
  under_way_.reset();
  ahead_.reset();
  taken_.clear();
  const Unit& unit = units_.front();
  const at::Tensor all = sharding_.shard->all_gather(pieces_.at(unit.name).detach());
  for (const auto& [name, tensor] : unpacked(unit, all)) outside_.at(name).copy_(tensor);
}

models::TensorMap ShardedParameters::whole_of(const models::TensorMap& pieces) const {
  const at::NoGradGuard no_grad;
  const bool first = sharding_.shard->rank() == 0 &&
                     (sharding_.replicas == nullptr || sharding_.replicas->rank() == 0);
  models::TensorMap whole;
  for (const Unit& unit : units_) {
    const at::Tensor all = sharding_.shard->all_gather(pieces.at(unit.name).detach());
    if (first) whole.merge(unpacked(unit, all.cpu()));
  }
  return whole;
}

models::TensorMap ShardedParameters::pieces_of(const models::TensorMap& whole,
                                               const std::string& what) const {
  const at::NoGradGuard no_grad;
  models::TensorMap pieces;
  for (const Unit& unit : units_) {
    for (const auto& [name, shape] : unit.shapes) {
      const auto found = whole.find(name);
      MONARCH_CHECK(found != whole.end() && found->second.sizes() == at::IntArrayRef(shape),
                    "[monarch_training] the ", what, " have no tensor '", name, "' of shape ",
                    shape_string(at::IntArrayRef(shape)), "; they belong to another model");
    }
    const at::Tensor all = flat(unit, whole, whole.at(unit.shapes.begin()->first).scalar_type());
    pieces[unit.name] = all.narrow(0, sharding_.shard->rank() * unit.piece, unit.piece).clone();
  }
  return pieces;
}

std::vector<std::string> ShardedParameters::names_in(const std::string& unit) const {
  std::vector<std::string> names;
  for (const Unit& candidate : units_) {
    if (candidate.name != unit) continue;
    for (const auto& [name, shape] : candidate.shapes) names.push_back(name);
  }
  return names;
}

}  // namespace monarch::training
