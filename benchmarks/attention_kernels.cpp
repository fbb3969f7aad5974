// Rate of the CPU attention kernels against a 2048^3 float32 matrix product of Torch, in turns.
//
//   bench_attention_kernels [--threads 2] [--heads 2] [--q-frames 3] [--kv-frames 21]
//                           [--grid 30x52] [--head-dim 128] [--repeats 7] [--cpu-time]
//                           [--dtype f32,bf16,f16] [--only cpu-avx512]... [--operator monarchrt]...
//
// One line an operator, storage type and implementation: the fastest of the repeats in seconds and
// in GFLOP/s of the operator's own operation count, its share of the product's rate, and the time
// of the operator's first line (float32 on the fastest implementation that takes it) over its own;
// the same of the backward, and its time over the forward's. Dense attention has a line for Torch's
// scaled_dot_product_attention.
// Repeats go round all lines and the product, so other work on the machine meets them alike.
// --cpu-time takes the processor time of all threads divided by their number instead of wall time:
// what the machine would do if it were idle. Each result is checked against the first line's.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "monarch/attention/registry.h"
#include "monarch/base/large_buffer.h"

namespace {

using namespace monarch::attention;  // NOLINT
using monarch::ConstTensorView;
using monarch::DType;
using monarch::TensorView;

struct Settings {
  int threads = 2;
  int64_t heads = 2, q_frames = 3, kv_frames = 21, height = 30, width = 52, head_dim = 128;
  int repeats = 7;
  bool cpu_time = false;
  std::string dtypes = "f32";
  std::vector<std::string> only;
  std::vector<std::string> operators;
};

bool among(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

Settings parse(int argc, char** argv) {
  Settings s;
  for (int index = 1; index < argc; ++index) {
    const std::string flag = argv[index];
    if (flag == "--cpu-time") {
      s.cpu_time = true;
      continue;
    }
    if (index + 1 == argc) {
      std::fprintf(stderr, "%s needs a value\n", flag.c_str());
      std::exit(2);
    }
    const char* value = argv[++index];
    if (flag == "--threads")
      s.threads = std::atoi(value);
    else if (flag == "--heads")
      s.heads = std::atoll(value);
    else if (flag == "--q-frames")
      s.q_frames = std::atoll(value);
    else if (flag == "--kv-frames")
      s.kv_frames = std::atoll(value);
    else if (flag == "--head-dim")
      s.head_dim = std::atoll(value);
    else if (flag == "--repeats")
      s.repeats = std::atoi(value);
    else if (flag == "--grid")
      std::sscanf(value, "%ldx%ld", &s.height, &s.width);
    else if (flag == "--dtype")
      s.dtypes = value;
    else if (flag == "--only")
      s.only.emplace_back(value);
    else if (flag == "--operator")
      s.operators.emplace_back(value);
    else {
      std::fprintf(stderr, "unknown flag %s\n", flag.c_str());
      std::exit(2);
    }
  }
  return s;
}

double seconds(const Settings& s, const std::function<void()>& work) {
  const clockid_t clock = s.cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  timespec begin;
  timespec end;
  clock_gettime(clock, &begin);
  work();
  clock_gettime(clock, &end);
  const double elapsed =
      double(end.tv_sec - begin.tv_sec) + 1e-9 * double(end.tv_nsec - begin.tv_nsec);
  return s.cpu_time ? elapsed / s.threads : elapsed;
}

struct Storage {
  const char* name;
  DType dtype;
  at::ScalarType type;
  double tolerance;  // of the result, against float32 on unrounded inputs
};
constexpr Storage kStorages[] = {{"f32", DType::kF32, at::kFloat, 1e-5},
                                 {"bf16", DType::kBF16, at::kBFloat16, 2e-2},
                                 {"f16", DType::kF16, at::kHalf, 2e-3}};

// One implementation on one storage type, with everything it needs.
struct Line {
  const Implementation* kernels = nullptr;
  Storage storage = {};
  at::Tensor q, k, v, grad_out, out, dq, dk, dv, lse;
  monarch::LargeBuffer workspace{0}, backward_workspace{0};
  double best = 1e300, best_backward = 1e300;

  template <typename View>
  View view(const at::Tensor& tensor) const {
    return {tensor.data_ptr(), storage.dtype, tensor.sizes().vec(), tensor.strides().vec()};
  }
  void forward(const Problem& problem, int threads) {
    kernels->forward(problem,
                     {view<ConstTensorView>(q), view<ConstTensorView>(k), view<ConstTensorView>(v),
                      view<TensorView>(out), lse.data_ptr<float>()},
                     threads, workspace.span());
  }
  void backward(const Problem& problem, int threads) {
    kernels->backward(
        problem,
        {view<ConstTensorView>(q), view<ConstTensorView>(k), view<ConstTensorView>(v),
         view<ConstTensorView>(out), view<ConstTensorView>(grad_out), view<TensorView>(dq),
         view<TensorView>(dk), view<TensorView>(dv), lse.data_ptr<float>()},
        threads, backward_workspace.span());
  }
};

double difference(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kFloat) - want).norm() / want.norm()).item<double>();
}

void measure(const Settings& s, const std::string& what, const Problem& problem, double gflop,
             int64_t q_tokens, int64_t kv_tokens) {
  if (!among(s.operators, what)) return;
  const at::Tensor q = at::randn({1, q_tokens, s.heads, s.head_dim});
  const at::Tensor k = at::randn({1, kv_tokens, s.heads, s.head_dim});
  const at::Tensor v = at::randn({1, kv_tokens, s.heads, s.head_dim});
  const at::Tensor grad_out = at::randn_like(q);
  std::vector<Line> lines;
  for (const Storage& storage : kStorages) {
    if (("," + s.dtypes + ",").find("," + std::string(storage.name) + ",") == std::string::npos)
      continue;
    for (const Implementation* kernels : implementations()) {
      if (kernels->name() == "reference" || !among(s.only, kernels->name()) ||
          !kernels->refusal(problem, storage.dtype, Direction::kForward).empty())
        continue;
      Line line;
      line.kernels = kernels;
      line.storage = storage;
      line.q = q.to(storage.type);
      line.k = k.to(storage.type);
      line.v = v.to(storage.type);
      line.grad_out = grad_out.to(storage.type);
      line.out = at::empty_like(line.q);
      line.dq = at::empty_like(line.q);
      line.dk = at::empty_like(line.k);
      line.dv = at::empty_like(line.v);
      line.lse = at::empty({1, s.heads, q_tokens});
      line.workspace = monarch::LargeBuffer(kernels->forward_workspace(problem, s.threads));
      if (kernels->refusal(problem, storage.dtype, Direction::kBackward).empty())
        line.backward_workspace =
            monarch::LargeBuffer(kernels->backward_workspace(problem, s.threads));
      lines.push_back(std::move(line));
    }
  }
  const at::Tensor a = at::randn({2048, 2048});
  at::Tensor product = at::empty({2048, 2048});
  double best_product = 1e300;
  double best_torch = 1e300;
  const auto heads_first = [](const at::Tensor& x) { return x.transpose(1, 2).contiguous(); };
  const at::Tensor torch_q = heads_first(q);
  const at::Tensor torch_k = heads_first(k);
  const at::Tensor torch_v = heads_first(v);
  for (int repeat = 0; repeat < s.repeats; ++repeat) {
    best_product = std::min(best_product, seconds(s, [&] { at::matmul_out(product, a, a); }));
    if (std::holds_alternative<DenseProblem>(problem)) {
      best_torch = std::min(best_torch, seconds(s, [&] {
                              at::scaled_dot_product_attention(torch_q, torch_k, torch_v);
                            }));
    }
    for (Line& line : lines) {
      line.best = std::min(line.best, seconds(s, [&] { line.forward(problem, s.threads); }));
      if (line.backward_workspace.span().empty()) continue;
      line.best_backward =
          std::min(line.best_backward, seconds(s, [&] { line.backward(problem, s.threads); }));
    }
  }
  const double product_rate = 2.0 * 2048 * 2048 * 2048 * 1e-9 / best_product;
  for (const Line& line : lines) {
    const auto check = [&](const at::Tensor& got, const at::Tensor& want, double factor) {
      const double error = difference(got, want.to(at::kFloat));
      if (error <= factor * line.storage.tolerance) return;
      std::fprintf(stderr, "%s differs by %g\n", std::string(line.kernels->name()).c_str(), error);
      std::exit(1);
    };
    const Line& first = lines.front();
    check(line.out, first.out, 1);
    std::printf("%-10s %-5s %-16s %8.4f s %7.1f GFLOP/s %5.2f of the product's %.1f   %5.2f x",
                what.c_str(), line.storage.name, std::string(line.kernels->name()).c_str(),
                line.best, gflop / line.best, gflop / line.best / product_rate, product_rate,
                first.best / line.best);
    if (!line.backward_workspace.span().empty()) {
      if (!first.backward_workspace.span().empty()) {
        check(line.dq, first.dq, 2);
        check(line.dk, first.dk, 2);
        check(line.dv, first.dv, 2);
      }
      std::printf("   backward %8.4f s %5.2f x, %.2f forwards", line.best_backward,
                  first.best_backward / line.best_backward, line.best_backward / line.best);
    }
    std::printf("\n");
  }
  if (std::holds_alternative<DenseProblem>(problem)) {
    std::printf("%-10s f32   Torch            %8.4f s %7.1f GFLOP/s %5.2f of the product's\n",
                what.c_str(), best_torch, gflop / best_torch, gflop / best_torch / product_rate);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Settings s = parse(argc, argv);
  at::set_num_threads(s.threads);
  const double rows = double(s.height);
  const double cols = double(s.width);
  const double tokens = rows * cols;
  const double dim = double(s.head_dim);
  const auto frames = double(s.q_frames * s.kv_frames * s.heads);

  const MonarchProblem monarch{.num_heads = s.heads,
                               .head_dim = s.head_dim,
                               .q_frames = s.q_frames,
                               .kv_frames = s.kv_frames,
                               .height = s.height,
                               .width = s.width};
  measure(s, "monarchrt", monarch,
          1e-9 * frames * (6 * rows * cols * cols + 4 * rows * rows * cols) * dim,
          monarch.q_tokens(), monarch.kv_tokens());
  const DenseProblem dense{.num_heads = s.heads,
                           .head_dim = s.head_dim,
                           .q_tokens = monarch.q_tokens(),
                           .kv_tokens = monarch.kv_tokens()};
  measure(s, "dense", dense, 1e-9 * frames * 4 * tokens * tokens * dim, dense.q_tokens,
          dense.kv_tokens);
  const VMonarchProblem vmonarch{.num_heads = s.heads,
                                 .head_dim = s.head_dim,
                                 .frames = s.kv_frames,
                                 .height = s.height,
                                 .width = s.width};
  const auto m = double(s.kv_frames);
  const double per_head =
      m * tokens * tokens * dim * 10 + 8 * m * m * tokens * dim + 4 * tokens * tokens * m * dim;
  measure(s, "vmonarch", vmonarch, 1e-9 * double(s.heads) * per_head, vmonarch.num_tokens(),
          vmonarch.num_tokens());
  return 0;
}
