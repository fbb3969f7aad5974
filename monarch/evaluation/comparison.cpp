#include "monarch/evaluation/comparison.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/evaluation/monarch_methods.h"
#include "monarch/evaluation/sparse_methods.h"

namespace monarch::evaluation {
namespace {

// Of the sparse methods, in tokens.
constexpr Box kSparseTile{.frames = 2, .height = 4, .width = 4};

// Whether blocks of grid.height columns cut through rows of the frame.
bool cuts_rows(const ops::Grid& grid) {
  return grid.height != grid.width && grid.height > 1 && grid.width > 1;
}

std::vector<AttentionMethod> monarchrt_methods(const ops::Grid& grid) {
  std::vector<AttentionMethod> methods;
  for (const std::int64_t iterations : {1, 2, 3})
    methods.push_back(monarchrt({.num_iters = iterations}));
  for (const std::int64_t f_tied : std::set<std::int64_t>{2, 3, grid.frames}) {
    if (f_tied > 1 && grid.frames % f_tied == 0) methods.push_back(monarchrt({.f_tied = f_tied}));
  }
  for (const auto& [bands, columns] : {std::pair{2, 1}, {3, 1}, {1, 2}, {2, 2}, {2, 4}}) {
    if (grid.height % bands == 0 && grid.width % columns == 0)
      methods.push_back(monarchrt({.h_reduce = bands, .w_reduce = columns}));
  }
  // As many numbers as 1x1x1, but rows of the block end inside rows of the frame.
  if (cuts_rows(grid)) {
    for (const std::int64_t iterations : {1, 2})
      methods.push_back(monarchrt_misaligned(grid.height, iterations));
  }
  return methods;
}

std::vector<AttentionMethod> vmonarch_methods(const ops::Grid& grid) {
  using attention::Split;
  std::vector<AttentionMethod> methods;
  for (const std::int64_t iterations : {1, 2, 3})
    methods.push_back(vmonarch({.num_iters = iterations}));
  methods.push_back(vmonarch({.recompute_first_frame = false}));
  for (const Split split : {Split::kFrameRowsXCols, Split::kColsXFrameRows, Split::kPixelsXFrames,
                            Split::kFrameColsXRows, Split::kRowsXFrameCols})
    methods.push_back(vmonarch({.split = split}));
  // As many numbers as hw,f, but cut in token order: a factor row is a few tokens of one frame.
  if (grid.frames > 1 && grid.frames != grid.width && grid.frames != grid.frame_tokens())
    methods.push_back(vmonarch_misaligned(grid.frame_tokens(), {}));
  return methods;
}

std::vector<AttentionMethod> sparse_methods() {
  std::vector<AttentionMethod> methods;
  for (const double width : {1.0, 0.5, 0.2, 0.1}) methods.push_back(radial_attention(width));
  for (const Box& window : {Box{1, 1, 1}, Box{1, 3, 3}, Box{3, 1, 1}, Box{3, 3, 3}})
    methods.push_back(sliding_tile(kSparseTile, window));
  for (const double keep : {0.05, 0.1, 0.2, 0.3}) {
    methods.push_back(sparse_videogen(keep));
    methods.push_back(coarse_to_fine(kSparseTile, keep));
  }
  return methods;
}

// Sparsity of a method depends on the grid alone where factors are concerned.
double sparsity_on(const AttentionMethod& method, const ops::Grid& grid) {
  const at::Tensor zeros = at::zeros({grid.tokens(), 1});
  return method.approximate({zeros, zeros, zeros, grid, 1}).sparsity;
}

// With the sparsity of every method so far, and with these parts of the keys.
void add_oracles(std::vector<AttentionMethod>& methods, const ops::Grid& grid,
                 std::span<const double> budgets = {}) {
  std::set<double> keeps(budgets.begin(), budgets.end());
  for (const AttentionMethod& method : methods)
    keeps.insert(oracle_keep(sparsity_on(method, grid)));
  for (const double keep : keeps) {
    if (keep < 1) methods.push_back(oracle_top_k(keep));
  }
}

}  // namespace

std::vector<AttentionMethod> comparison_methods(const ops::Grid& grid,
                                                std::span<const double> budgets) {
  std::vector<AttentionMethod> methods = monarchrt_methods(grid);
  for (AttentionMethod& method : vmonarch_methods(grid)) methods.push_back(std::move(method));
  add_oracles(methods, grid, budgets);
  for (AttentionMethod& method : sparse_methods()) methods.push_back(std::move(method));
  return methods;
}

std::vector<AttentionMethod> video_methods(const ops::Grid& grid) {
  std::vector<AttentionMethod> methods{monarchrt({}), monarchrt({.num_iters = 2})};
  if (grid.frames > 1) methods.push_back(monarchrt({.f_tied = grid.frames}));
  if (grid.height % 2 == 0) methods.push_back(monarchrt({.h_reduce = 2}));
  if (cuts_rows(grid)) methods.push_back(monarchrt_misaligned(grid.height, 1));
  methods.push_back(vmonarch({}));
  methods.push_back(vmonarch({.recompute_first_frame = false}));
  add_oracles(methods, grid);
  methods.push_back(radial_attention(0.2));
  methods.push_back(sliding_tile(kSparseTile, {1, 3, 3}));
  methods.push_back(sparse_videogen(0.1));
  methods.push_back(coarse_to_fine(kSparseTile, 0.2));
  return methods;
}

SourceResult compare_methods(const std::string& name, std::span<const AttentionHead> heads,
                             std::span<const AttentionMethod> methods, std::int64_t max_queries,
                             const std::function<void(std::int64_t done)>& on_method) {
  MONARCH_CHECK(!heads.empty(), "[monarch_evaluation] there are no heads to compare on");
  const at::NoGradGuard no_grad;
  SourceResult result{.name = name,
                      .grid = heads.front().grid,
                      .heads = static_cast<std::int64_t>(heads.size()),
                      .queries = std::min(max_queries, heads.front().tokens())};
  for (const AttentionMethod& method : methods)
    result.methods.push_back(
        {.family = method.family, .name = method.name, .settings = method.settings});
  std::int64_t done = 0;
  for (const AttentionHead& head : heads) {
    const AttentionTruth truth(head, max_queries);
    for (std::size_t i = 0; i < methods.size(); ++i) {
      if (on_method) on_method(done++);
      const AttentionErrors errors = truth.measure(methods[i]);
      const auto count = static_cast<double>(heads.size());
      MethodResult& mean = result.methods[i];
      mean.errors.map += errors.map / count;
      mean.errors.misplaced += errors.misplaced / count;
      mean.errors.output += errors.output / count;
      mean.errors.sparsity += errors.sparsity / count;
      mean.errors.first_frame += errors.first_frame / count;
      mean.worst_output = std::max(mean.worst_output, errors.output);
      mean.outputs.push_back(errors.output);
    }
  }
  return result;
}

const MethodResult* paired_oracle(const SourceResult& result, const MethodResult& method) {
  const double keep = oracle_keep(method.errors.sparsity);
  for (const MethodResult& other : result.methods) {
    if (other.family == "oracle top-k" &&
        std::abs(other.settings["keep"].get<double>() - keep) < 1e-9)
      return &other;
  }
  return nullptr;
}

Json errors_by_layer(const SourceResult& result, std::span<const AttentionHead> heads) {
  const MethodResult& method = result.methods.front();
  const MethodResult* oracle = paired_oracle(result, method);
  MONARCH_CHECK(oracle != nullptr, "[monarch_evaluation] no oracle was measured beside ",
                method.name);
  std::set<std::size_t> layers;
  std::set<double, std::greater<>> timesteps;  // from noise to video
  for (const AttentionHead& head : heads) {
    layers.insert(head.layer);
    timesteps.insert(head.timestep);
  }
  Json rows = Json::array();
  for (const std::size_t layer : layers) {
    Json errors = Json::array();
    for (const double timestep : timesteps) {
      double count = 0, ours = 0, theirs = 0;
      for (std::size_t i = 0; i < heads.size(); ++i) {
        if (heads[i].layer != layer || heads[i].timestep != timestep) continue;
        ++count;
        ours += method.outputs[i];
        theirs += oracle->outputs[i];
      }
      errors.push_back(count > 0 ? Json{ours / count, theirs / count} : Json());
    }
    rows.push_back({{"layer", layer}, {"errors", errors}});
  }
  return {{"method", method.family + " " + method.name},
          {"oracle", oracle->family + " " + oracle->name},
          {"timesteps", timesteps},
          {"layers", rows}};
}

double oracle_keep(double sparsity) {
  return std::clamp(std::round(1000 * (1 - sparsity)) / 1000, 0.001, 1.0);
}

void to_json(Json& json, const SourceResult& result) {
  json = {{"name", result.name},
          {"grid", {result.grid.frames, result.grid.height, result.grid.width}},
          {"heads", result.heads},
          {"queries_per_head", result.queries},
          {"methods", Json::array()}};
  for (const MethodResult& method : result.methods) {
    json["methods"].push_back({{"family", method.family},
                               {"name", method.name},
                               {"settings", method.settings},
                               {"sparsity", method.errors.sparsity},
                               {"map_error", method.errors.map},
                               {"misplaced", method.errors.misplaced},
                               {"output_error", method.errors.output},
                               {"worst_output_error", method.worst_output},
                               {"first_frame_part", method.errors.first_frame}});
  }
}

}  // namespace monarch::evaluation
