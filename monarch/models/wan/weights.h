// Named parameters on their way from a checkpoint into a module.
//
// A module takes its parameters one by one through a WeightReader; whatever is missing, unused or
// misshapen is collected and reported in one error, so a wrong checkpoint is understood at the
// first try.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace monarch::models {

using Shape = std::vector<int64_t>;
using ShapeMap = std::map<std::string, Shape>;  // parameter name -> shape
using TensorMap = std::map<std::string, at::Tensor>;

class WeightReader {
 public:
  // `what` names the module in the error: "Wan VAE decoder". `weights` must outlive the reader.
  WeightReader(const TensorMap& weights, std::string what);

  // The parameter, sharing memory with the map. If it is absent or has another shape the fact is
  // noted for finish() and a zero tensor of the wanted shape comes back, so that reading can go on.
  at::Tensor take(const std::string& name, const Shape& shape);
  bool has(const std::string& name) const { return weights_.contains(name); }

  // Names starting with this prefix need not be used (the other half of a VAE, for instance).
  void ignore_prefix(const std::string& prefix) { ignored_.push_back(prefix); }

  // Throws one error listing every missing, misshapen and unused tensor; does nothing if all is
  // well.
  void finish() const;

 private:
  const TensorMap& weights_;
  std::string what_;
  std::vector<std::string> missing_;
  std::vector<std::string> misshapen_;
  std::vector<std::string> ignored_;
  std::set<std::string> used_;
};

}  // namespace monarch::models
