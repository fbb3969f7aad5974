#include "tests/attention/support/fixture.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "monarch/base/options_reader.h"
#include "monarch/io/parity_case.h"

namespace monarch::attention::test {
namespace {

template <typename Problem>
void read_common(OptionsReader& reader, Problem& problem) {
  reader.read("batch", problem.batch);
  reader.read("heads", problem.num_heads);
  reader.read("head_dim", problem.head_dim);
  double scale = 0;
  if (reader.read("sm_scale", scale) || reader.read("softmax_scale", scale))
    problem.softmax_scale = scale;
}

}  // namespace

Fixture load_fixture(const std::filesystem::path& path) {
  const io::ParityCase file = io::read_parity_case(path);
  Fixture fixture;
  fixture.name = path.stem().string();
  fixture.op = file.op;
  fixture.config = file.config.dump();
  fixture.tolerance = file.rel_l2_tolerance;
  if (file.rms_floor > 0) fixture.rms_floor = file.rms_floor;
  if (file.description.contains("observed_rel_l2"))
    fixture.observed_bf16 = file.description.at("observed_rel_l2").at("bfloat16").get<double>();
  for (const io::TensorEntry& entry : file.file->tensors()) {
    Tensor tensor(entry.shape, DType::kF32);
    for (std::int64_t index = 0; index < tensor.size(); ++index) {
      float value = 0;
      std::memcpy(&value, entry.bytes.data() + index * 4, 4);
      tensor.set(index, value);
    }
    fixture.tensors.emplace(entry.name, std::move(tensor));
  }
  return fixture;
}

std::vector<std::filesystem::path> fixture_files() {
  std::vector<std::filesystem::path> folders{std::filesystem::path(MONARCH_SOURCE_DIR) /
                                             "tests/fixtures/attention"};
  if (const char* more = std::getenv("MONARCH_ATTENTION_FIXTURES")) folders.emplace_back(more);
  std::vector<std::filesystem::path> files;
  for (const auto& folder : folders) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

DenseProblem dense_problem(const Fixture& fixture) {
  const Json config = Json::parse(fixture.config);
  DenseProblem problem;
  OptionsReader reader(config, fixture.name);
  read_common(reader, problem);
  reader.read("q_tokens", problem.q_tokens);
  reader.read("kv_tokens", problem.kv_tokens);
  reader.read("cache_tokens", problem.kv_tokens);
  reader.read("block_causal_size", problem.block_causal_size);
  for (const char* key : {"start", "end", "new_tokens", "grad_only_new_kv"}) reader.accept(key);
  reader.finish();
  return problem;
}

MonarchProblem monarch_problem(const Fixture& fixture) {
  const Json config = Json::parse(fixture.config);
  MonarchProblem problem;
  OptionsReader reader(config, fixture.name);
  read_common(reader, problem);
  reader.read("q_frames", problem.q_frames);
  reader.read("kv_frames", problem.kv_frames);
  if (reader.read("cache_frames", problem.kv_frames)) problem.kv_block_order = true;
  reader.read("h", problem.height);
  reader.read("w", problem.width);
  reader.read("f_tied", problem.f_tied);
  reader.read("h_reduce", problem.h_reduce);
  reader.read("w_reduce", problem.w_reduce);
  reader.read("num_iters", problem.num_iters);
  reader.read("block_causal_size", problem.block_causal_size);
  for (const char* key : {"start", "end", "new_frames", "grad_only_new_kv"}) reader.accept(key);
  reader.finish();
  return problem;
}

VMonarchProblem vmonarch_problem(const Fixture& fixture) {
  const Json config = Json::parse(fixture.config);
  const std::vector<std::int64_t>& shape = fixture.tensors.at("input.q").shape();
  VMonarchProblem problem;
  problem.batch = shape[0];
  problem.num_heads = shape[2];
  problem.head_dim = shape[3];
  OptionsReader reader(config, fixture.name);
  read_common(reader, problem);
  reader.read("frames", problem.frames);
  reader.read("height", problem.height);
  reader.read("width", problem.width);
  reader.read("num_iters", problem.num_iters);
  reader.read("c_r_min", problem.c_r_min);
  reader.read("recompute_first_frame", problem.recompute_first_frame);
  reader.read("frames_per_factor", problem.frames_per_factor);
  reader.finish();
  return problem;
}

CacheWrite cache_write(const Fixture& fixture) {
  const Json config = Json::parse(fixture.config);
  return {config.at("start").get<std::int64_t>(), config.at("end").get<std::int64_t>()};
}

}  // namespace monarch::attention::test
