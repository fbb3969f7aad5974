// Rate of the CPU attention kernels against a 2048^3 matrix product of Torch, measured in turns.
//
//   bench_attention_kernels [--threads 2] [--heads 2] [--q-frames 3] [--kv-frames 21] [--grid
//   30x52] [--head-dim 128]
//                           [--repeats 7] [--cpu-time]
//
// One line an implementation and operator: GFLOP/s of the kernel over its own operation count, of
// the product, and the median of their ratios. --cpu-time divides by the processor time of all
// threads instead of wall time, and multiplies by their number: what the machine would do if it
// were idle. Each result is checked against the first implementation's.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "monarch/attention/registry.h"

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
};

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

template <typename View>
View view(const at::Tensor& tensor) {
  return {tensor.data_ptr(), DType::kF32, tensor.sizes().vec(), tensor.strides().vec()};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const Settings& s, const std::string& what, const Problem& problem, double gflop,
             int64_t q_tokens, int64_t kv_tokens, bool backward) {
  const at::Tensor q = at::randn({1, q_tokens, s.heads, s.head_dim});
  const at::Tensor k = at::randn({1, kv_tokens, s.heads, s.head_dim});
  const at::Tensor v = at::randn({1, kv_tokens, s.heads, s.head_dim});
  const at::Tensor grad_out = at::randn_like(q);
  const at::Tensor a = at::randn({2048, 2048});
  at::Tensor product = at::empty({2048, 2048});
  at::Tensor first;
  for (const Implementation* kernels : implementations()) {
    if (kernels->name() == "reference") continue;
    at::Tensor out = at::empty_like(q);
    at::Tensor dq = at::empty_like(q);
    at::Tensor dk = at::empty_like(k);
    at::Tensor dv = at::empty_like(v);
    at::Tensor lse = at::empty({1, s.heads, q_tokens});
    std::vector<std::byte> workspace(kernels->forward_workspace(problem, s.threads));
    std::vector<std::byte> backward_workspace(
        backward ? kernels->backward_workspace(problem, s.threads) : 0);
    const ForwardTensors forward{view<ConstTensorView>(q), view<ConstTensorView>(k),
                                 view<ConstTensorView>(v), view<TensorView>(out),
                                 lse.data_ptr<float>()};
    const BackwardTensors gradients{view<ConstTensorView>(q),
                                    view<ConstTensorView>(k),
                                    view<ConstTensorView>(v),
                                    view<ConstTensorView>(out),
                                    view<ConstTensorView>(grad_out),
                                    view<TensorView>(dq),
                                    view<TensorView>(dk),
                                    view<TensorView>(dv),
                                    lse.data_ptr<float>()};
    const auto run = [&] { kernels->forward(problem, forward, s.threads, workspace); };
    run();
    if (!first.defined()) first = out;
    const double error = (out - first).norm().item<double>() / first.norm().item<double>();
    if (error > 1e-5) {
      std::fprintf(stderr, "%s differs by %g\n", std::string(kernels->name()).c_str(), error);
      std::exit(1);
    }
    std::vector<double> times;
    std::vector<double> backward_times;
    std::vector<double> products;
    std::vector<double> ratios;
    const double product_gflop = 2.0 * 2048 * 2048 * 2048 * 1e-9;
    for (int repeat = 0; repeat < s.repeats; ++repeat) {
      products.push_back(seconds(s, [&] { at::matmul_out(product, a, a); }));
      times.push_back(seconds(s, run));
      ratios.push_back(gflop / times.back() / (product_gflop / products.back()));
      if (backward) {
        backward_times.push_back(seconds(
            s, [&] { kernels->backward(problem, gradients, s.threads, backward_workspace); }));
      }
    }
    std::printf("%-10s %-12s %8.4f s %7.1f GFLOP/s   product %7.1f   ratio %.3f", what.c_str(),
                std::string(kernels->name()).c_str(), median(times), gflop / median(times),
                product_gflop / median(products), median(ratios));
    if (backward) std::printf("   backward / forward %.2f", median(backward_times) / median(times));
    std::printf("\n");
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
          monarch.q_tokens(), monarch.kv_tokens(), true);
  const DenseProblem dense{.num_heads = s.heads,
                           .head_dim = s.head_dim,
                           .q_tokens = monarch.q_tokens(),
                           .kv_tokens = monarch.kv_tokens()};
  measure(s, "dense", dense, 1e-9 * frames * 4 * tokens * tokens * dim, dense.q_tokens,
          dense.kv_tokens, false);
  const VMonarchProblem vmonarch{.num_heads = s.heads,
                                 .head_dim = s.head_dim,
                                 .frames = s.kv_frames,
                                 .height = s.height,
                                 .width = s.width};
  const auto m = double(s.kv_frames);
  const double per_head =
      m * tokens * tokens * dim * 10 + 8 * m * m * tokens * dim + 4 * tokens * tokens * m * dim;
  measure(s, "vmonarch", vmonarch, 1e-9 * double(s.heads) * per_head, vmonarch.num_tokens(),
          vmonarch.num_tokens(), false);
  return 0;
}
