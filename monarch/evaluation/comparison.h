// Every method on the same heads.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "monarch/evaluation/quality.h"

namespace monarch::evaluation {

struct MethodResult {
  std::string family, name;
  Json settings;
  AttentionErrors errors = {};       // means over the heads
  double worst_output = 0;           // largest relative output error of a head
  std::vector<double> outputs = {};  // relative output error of each head
};

struct SourceResult {
  std::string name;  // "synthetic periodic", ...
  ops::Grid grid;
  std::int64_t heads = 0, queries = 0;  // queries measured of each head
  std::vector<MethodResult> methods = {};
  std::string measure = "output error";  // what errors.output is, in words
};

// The oracle in the result that is as sparse as the method, if there is one.
const MethodResult* paired_oracle(const SourceResult& result, const MethodResult& method);

// Mean output errors of the first method and its oracle by layer and timestep, where heads were
// captured in more than one: "method", "oracle", "timesteps", and "layers" of "layer" and "errors",
// null where there was no head.
Json errors_by_layer(const SourceResult& result, std::span<const AttentionHead> heads);

// The part of the keys an oracle keeps to be as sparse as this, to a tenth of a percent.
double oracle_keep(double sparsity);

// All methods that fit the grid: monarchrt by tiling and by iterations, vmonarch by split, by
// iterations and with the first frame not recomputed, both misaligned with as many numbers as an
// aligned one, the sparse comparators, and the oracle at the sparsity of every Monarch method and
// with the parts `budgets` of the keys.
std::vector<AttentionMethod> comparison_methods(const ops::Grid& grid,
                                                std::span<const double> budgets = {});

// Fewer, one or two of each family, and the oracle as above: for whole videos.
std::vector<AttentionMethod> video_methods(const ops::Grid& grid);

// Heads share one grid. `on_method` is told how many methods of all heads are done.
SourceResult compare_methods(const std::string& name, std::span<const AttentionHead> heads,
                             std::span<const AttentionMethod> methods, std::int64_t max_queries,
                             const std::function<void(std::int64_t done)>& on_method = {});

void to_json(Json& json, const SourceResult& result);

}  // namespace monarch::evaluation
