// Parameters of a transformer that processes hold together (ZeRO-3: Rajbhandari et al. 2020,
// arXiv 1910.02054; FSDP: Zhao et al. 2023, arXiv 2304.11277).
//
// A unit is a layer, or everything outside the layers. Its tensors lie one after the other in one
// flat array, of which each rank owns an equal piece: as parameters, gradients, optimizer state and
// average alike. A layer is whole only while it runs, forward and again backward; the next one is
// gathered meanwhile. What is outside the layers stays whole, but for optimizer state and average.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "monarch/models/wan/layer_source.h"
#include "monarch/parallel/communicator.h"

namespace monarch::training {

struct Sharding {
  parallel::Communicator* shard = nullptr;     // ranks that hold a copy together
  parallel::Communicator* replicas = nullptr;  // ranks that hold the same piece of other copies
  bool keep_layers = false;                    // whole from their first use to the next update
  at::ScalarType compute = at::kFloat;         // type of whole layers
  int64_t sequence = 1;                        // ranks whose gradients are parts of one sample's
};

// Owned by a shared_ptr: the layers that a pass holds keep it alive.
class ShardedParameters : public models::LayerSource,
                          public std::enable_shared_from_this<ShardedParameters> {
 public:
  // This rank's pieces of `whole`, in its type; all ranks have the same. `trained`: layers record
  // gradients. Groups of `sharding` must outlive it.
  ShardedParameters(const models::TensorMap& whole, const Sharding& sharding, bool trained);

  // Collective, like everything that runs layers: all ranks take the same ones in the same order.
  const models::TensorMap& take(size_t layer) override;
  void gradients_are_ready(size_t layer) override;
  std::shared_ptr<models::HeldLayer> hold(size_t layer) override;

  // The tensors outside the layers, whole; leaves that record gradients if trained.
  const models::TensorMap& outside() const { return outside_; }
  // This rank's pieces [n], by unit: what an optimizer updates.
  const models::TensorMap& pieces() const { return pieces_; }

  // Ends backward passes: the pieces' gradients are the mean over all samples of those of all
  // passes. One that a rank does not have counts as zeros.
  void collect_gradients();
  // Σ over the pieces of a copy.
  double sum_over_pieces(double value) const;
  // After an update of the pieces.
  void pieces_changed();

  // Tensors like pieces() (moments, averages) as whole tensors by name. Collective; empty on all
  // but the first rank.
  models::TensorMap whole_of(const models::TensorMap& pieces) const;
  // The reverse: this rank's part of whole tensors. Throws naming `what` if one is missing or has
  // another shape.
  models::TensorMap pieces_of(const models::TensorMap& whole, const std::string& what) const;
  // Names of the tensors of each unit.
  std::vector<std::string> names_in(const std::string& unit) const;

 private:
  struct Unit {
    std::string name;
    models::ShapeMap shapes;
    int64_t numel = 0;
    int64_t piece = 0;  // elements a rank; the last one's is filled up with zeros
  };
  struct Layer {
    size_t index;
    models::TensorMap tensors;
  };
  class Held;
  struct Reduction {
    const Unit* unit;
    std::unique_ptr<parallel::Pending> sum;
  };

  const Unit& unit_of(size_t layer) const { return units_[layer + 1]; }
  at::Tensor flat(const Unit& unit, const models::TensorMap& tensors, at::ScalarType type) const;
  models::TensorMap leaves(size_t layer, const at::Tensor& flat) const;
  models::TensorMap unpacked(const Unit& unit, const at::Tensor& flat) const;
  void start_gathering(size_t layer);
  at::Tensor gathered(size_t layer);
  void gather_ahead(size_t layer, bool again);
  void reduce(const Unit& unit, const models::TensorMap& tensors);
  void finish_oldest_reduction();

  Sharding sharding_;
  bool trained_;
  std::vector<Unit> units_;  // outside, then layers
  models::TensorMap outside_, pieces_;
  std::deque<Layer> taken_;  // the last layer; with keep_layers all since the last update
  size_t last_ = 0;
  std::optional<size_t> ahead_;  // layer under way
  std::unique_ptr<parallel::Pending> under_way_;
  std::deque<Reduction> reductions_;
};

}  // namespace monarch::training
