// Every committed fixture through the reference: values, caches, gradients and intermediates.
#include <gtest/gtest.h>

#include <cmath>

#include "monarch/attention/reference/dense.h"
#include "monarch/attention/reference/monarch_backward.h"
#include "monarch/attention/reference/monarch_cached.h"
#include "monarch/attention/reference/monarch_forward.h"
#include "monarch/attention/reference/vmonarch_forward.h"
#include "tests/attention/support/fixture.h"

namespace monarch::attention::test {
namespace {

// The fixtures were computed in double and rounded once, and so is the reference.
constexpr double kTolerance = 1e-6;

class Replay {
 public:
  explicit Replay(const Fixture& fixture) : fixture_(fixture) {}

  Tensor input(const std::string& name) const { return fixture_.tensors.at("input." + name); }
  bool has(const std::string& name) const { return fixture_.tensors.contains(name); }
  // A tensor shaped like the expected one, to be written.
  Tensor& result(const std::string& name) {
    Tensor& tensor = results_[name] = Tensor(fixture_.tensors.at(name).shape(), DType::kF32);
    tensor.fill(std::nan(""));
    return tensor;
  }
  void keep(const std::string& name, Tensor tensor) { results_[name] = std::move(tensor); }

  // Every expected tensor was computed and is near.
  void check() const {
    for (const auto& [name, want] : fixture_.tensors) {
      if (name.starts_with("input.")) continue;
      ASSERT_TRUE(results_.contains(name)) << fixture_.name << " does not compute " << name;
      EXPECT_LE(relative_error(results_.at(name), want, fixture_.rms_floor), kTolerance)
          << fixture_.name << ' ' << name << ' ' << worst_element(results_.at(name), want);
    }
  }

 private:
  const Fixture& fixture_;
  TensorMap results_;
};

// Writes value(rows of the step) into result[b, ..., n, ...] of a debug fixture.
class Intermediates {
 public:
  Intermediates(Replay& replay, const MonarchProblem& problem)
      : replay_(replay), problem_(problem) {
    blocks_ = {problem.num_q_blocks(), problem.num_kv_blocks(), problem.layout().block_rows(),
               problem.layout().block_cols()};
  }

  void record(std::int64_t a, const std::vector<reference::MonarchStep>& steps,
              const reference::Matrix& y) {
    for (std::size_t t = 0; t < steps.size(); ++t) {
      const bool last = t + 1 == steps.size();
      const std::string suffix = last ? "" : "." + std::to_string(t + 1);
      put("expect.R" + suffix, a, steps[t].r);
      put("expect.aL" + suffix, a, steps[t].a_l);
      put("expect.cL" + suffix, a, steps[t].c_l);
      put("expect.L" + suffix, a, steps[t].l);
      if (t > 0) put("expect.aR." + std::to_string(t), a, steps[t].a_r);
      if (t > 0) put("expect.cR." + std::to_string(t), a, steps[t].c_r);
    }
    put("expect.Y", a, y);
  }

 private:
  // Debug fixtures have one batch; heads lie before the head_dim or first, and there A is the next
  // axis.
  void put(const std::string& name, std::int64_t a, const reference::Matrix& matrix) {
    if (!replay_.has(name)) return;
    if (!tensors_.contains(name)) tensors_.emplace(name, replay_.result(name));
    Tensor& tensor = tensors_.at(name);
    const bool heads_last =
        matrix.cols == problem_.head_dim && tensor.shape().back() == matrix.cols &&
        (name.find("aL") != std::string::npos || name.find("aR") != std::string::npos ||
         name.find('Y') != std::string::npos);
    const std::int64_t heads = problem_.num_heads;
    for (std::int64_t row = 0; row < matrix.rows; ++row) {
      for (std::int64_t col = 0; col < matrix.cols; ++col) {
        const std::int64_t index =
            heads_last ? ((a * matrix.rows + row) * heads + head) * matrix.cols + col
                       : ((head * blocks_[0] + a) * matrix.rows + row) * matrix.cols + col;
        tensor.set(index, matrix[row][col]);
      }
    }
    replay_.keep(name, tensor);
  }

 public:
  std::int64_t head = 0;

 private:
  Replay& replay_;
  MonarchProblem problem_;
  std::vector<std::int64_t> blocks_;
  TensorMap tensors_;
};

void replay_dense(const Fixture& fixture, Replay& replay) {
  const DenseProblem problem = dense_problem(fixture);
  const Tensor q = replay.input("q");
  const bool cached = fixture.op == "dense_attention_kv_cache";
  Tensor k = replay.input(cached ? "k_cache" : "k");
  Tensor v = replay.input(cached ? "v_cache" : "v");
  if (cached) {
    const Tensor new_k = replay.input("new_k");
    const Tensor new_v = replay.input("new_v");
    reference::dense_cached_forward(problem, cache_write(fixture), q.view(), k.view(), v.view(),
                                    new_k.view(), new_v.view(), replay.result("expect.out").view());
    replay.keep("expect.k_cache", k);
    replay.keep("expect.v_cache", v);
  } else {
    reference::dense_forward(problem, q.view(), read_only(k.view()), read_only(v.view()),
                             replay.result("expect.out").view());
  }
  if (!replay.has("grad.q")) return;
  Tensor dk(k.shape(), DType::kF32);
  Tensor dv(v.shape(), DType::kF32);
  const Tensor grad_out = replay.input("grad_out");
  reference::dense_backward(problem, q.view(), read_only(k.view()), read_only(v.view()),
                            grad_out.view(), replay.result("grad.q").view(), dk.view(), dv.view());
  if (!cached) {
    replay.keep("grad.k", dk);
    replay.keep("grad.v", dv);
    return;
  }
  const BlockLayout token_order;
  const CacheWrite write = cache_write(fixture);
  copy_to_token_order(token_order, read_only(dk.view()), write.start,
                      replay.result("grad.new_k").view());
  copy_to_token_order(token_order, read_only(dv.view()), write.start,
                      replay.result("grad.new_v").view());
  if (replay.has("grad.k_cache")) {
    replay.keep("grad.k_cache", dk);
    replay.keep("grad.v_cache", dv);
  }
}

void replay_monarch(const Fixture& fixture, Replay& replay) {
  const MonarchProblem problem = monarch_problem(fixture);
  const Tensor q = replay.input("q");
  const Tensor k = replay.input("k");
  const Tensor v = replay.input("v");
  Intermediates intermediates(replay, problem);
  reference::monarch_forward(
      problem, q.view(), k.view(), v.view(), replay.result("expect.out").view(),
      [&](std::int64_t, std::int64_t head, std::int64_t a, const reference::StepShape&,
          const auto& steps, const reference::Matrix& y) {
        intermediates.head = head;
        intermediates.record(a, steps, y);
      });
  if (!replay.has("grad.q")) return;
  const Tensor grad_out = replay.input("grad_out");
  reference::monarch_backward(problem, q.view(), k.view(), v.view(), grad_out.view(),
                              replay.result("grad.q").view(), replay.result("grad.k").view(),
                              replay.result("grad.v").view());
}

void replay_monarch_cached(const Fixture& fixture, Replay& replay) {
  const MonarchProblem problem = monarch_problem(fixture);
  const CacheWrite write = cache_write(fixture);
  const Tensor q = replay.input("q");
  const Tensor new_k = replay.input("new_k");
  const Tensor new_v = replay.input("new_v");
  Tensor k = replay.input("k_cache");
  Tensor v = replay.input("v_cache");
  reference::monarch_cached_forward(problem, write, q.view(), k.view(), v.view(), new_k.view(),
                                    new_v.view(), replay.result("expect.out").view());
  replay.keep("expect.k_cache", k);
  replay.keep("expect.v_cache", v);
  if (!replay.has("grad.q")) return;
  std::optional<reference::CacheGradients> cache_gradients;
  if (replay.has("grad.k_cache")) {
    cache_gradients = {replay.result("grad.k_cache").view(), replay.result("grad.v_cache").view()};
  }
  const Tensor grad_out = replay.input("grad_out");
  reference::monarch_cached_backward(
      problem, write, q.view(), read_only(k.view()), read_only(v.view()), grad_out.view(),
      replay.result("grad.q").view(), replay.result("grad.new_k").view(),
      replay.result("grad.new_v").view(), cache_gradients);
}

void replay_vmonarch(const Fixture& fixture, Replay& replay) {
  const VMonarchProblem problem = vmonarch_problem(fixture);
  const Tensor q = replay.input("q");
  const Tensor k = replay.input("k");
  const Tensor v = replay.input("v");
  // The fixture's [b, heads, m, P, ...] seen as [b, m P, heads, ...].
  const auto heads_second = [&](TensorView view, std::int64_t width) {
    const std::int64_t tokens = problem.num_tokens();
    view.shape = {problem.batch, tokens, problem.num_heads, width};
    view.strides = {problem.num_heads * tokens * width, width, tokens * width, 1};
    return view;
  };
  const reference::VMonarchIntermediates intermediates{
      heads_second(replay.result("expect.entropy").view(), 1),
      heads_second(replay.result("expect.a_l").view(), problem.head_dim)};
  reference::vmonarch_forward(problem, q.view(), k.view(), v.view(),
                              replay.result("expect.out").view(), intermediates);
}

TEST(ReferenceParity, EveryFixture) {
  ASSERT_GE(fixture_files().size(), 20U);
  for (const auto& path : fixture_files()) {
    const Fixture fixture = load_fixture(path);
    Replay replay(fixture);
    if (fixture.op.starts_with("dense_")) {
      replay_dense(fixture, replay);
    } else if (fixture.op == "monarch_attention" ||
               fixture.op == "monarch_attention_block_causal") {
      replay_monarch(fixture, replay);
    } else if (fixture.op == "monarch_attention_kv_cache") {
      replay_monarch_cached(fixture, replay);
    } else if (fixture.op == "vmonarch_attention") {
      replay_vmonarch(fixture, replay);
    } else {
      ADD_FAILURE() << fixture.name << " has the unknown op " << fixture.op;
    }
    replay.check();
  }
}

}  // namespace
}  // namespace monarch::attention::test
