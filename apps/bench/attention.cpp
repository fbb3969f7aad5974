#include <ATen/ATen.h>

#include <functional>

#include "apps/bench/einsum_monarch.h"
#include "apps/bench/flops.h"
#include "apps/bench/works.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"

namespace monarch::apps {
namespace {

constexpr std::uint64_t kSeed = 7;

using Attend =
    std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

struct Operands {
  at::Tensor q, k, v, grad_out;

  Operands to(at::ScalarType type) const {
    return {q.to(type), k.to(type), v.to(type), grad_out.to(type)};
  }
};

// Relative error of the worst of several tensors.
double worst_error(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& want) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const at::Tensor difference = got[i].to(at::kDouble) - want[i];
    worst = std::max(worst, (difference.norm() / want[i].norm()).item<double>());
  }
  return worst;
}

// A forward pass that can be differentiated again and again.
class Differentiated {
 public:
  Differentiated(const Attend& attend, const Operands& o) : grad_out_(o.grad_out) {
    const at::AutoGradMode record(true);
    for (const at::Tensor& operand : {o.q, o.k, o.v})
      leaves_.push_back(operand.detach().requires_grad_());
    out_ = attend(leaves_[0], leaves_[1], leaves_[2]);
  }
  std::vector<at::Tensor> gradients() const {
    return torch::autograd::grad({out_}, leaves_, {grad_out_}, /*retain_graph=*/true);
  }

 private:
  std::vector<at::Tensor> leaves_;
  at::Tensor out_, grad_out_;
};

class AttentionBenchmark {
 public:
  AttentionBenchmark(BenchReport& report, const AttentionBench& options)
      : report_(report),
        o_(options),
        q_grid_{o_.query_frames, o_.rows, o_.columns},
        kv_grid_{o_.kv_frames, o_.rows, o_.columns} {
    MONARCH_CHECK(o_.preset == "monarchrt" || o_.preset == "vmonarch" || o_.preset == "dense",
                  "[bench] unknown preset '", o_.preset, "'; use monarchrt, vmonarch or dense");
    MONARCH_CHECK(
        o_.preset != "vmonarch" || o_.query_frames == o_.kv_frames,
        "[bench] vmonarch attends within one video; use the same --query-frames and --kv-frames");
    type_ = o_.dtype == "bf16" ? at::kBFloat16 : o_.dtype == "f16" ? at::kHalf : at::kFloat;
    tolerance_ = o_.dtype == "bf16" ? 2e-2 : o_.dtype == "f16" ? 3e-3 : 2e-5;
    at::manual_seed(kSeed);
    const auto draw = [&](const ops::Grid& grid) {
      return at::randn({o_.batch, grid.tokens(), o_.heads, o_.head_dim}).to(type_);
    };
    operands_ = {draw(q_grid_), draw(kv_grid_), draw(kv_grid_), draw(q_grid_)};
  }

  void run() {
    const Measurement forward = time("attention", false);
    if (!o_.backward) return;
    const Measurement backward = time("attention-backward", true);
    note("monarch backward takes ", backward.seconds_median / forward.seconds_median,
         " x its forward", "monarch backward / forward");
  }

 private:
  at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
    if (o_.preset == "monarchrt")
      return ops::monarch_attention(q, k, v, o_.monarch, q_grid_, kv_grid_);
    if (o_.preset == "vmonarch") return ops::vmonarch_attention(q, k, v, o_.vmonarch, q_grid_);
    return ops::dense_attention(q, k, v);
  }

  std::function<void()> work_of(const Attend& attend, bool backward) const {
    if (backward) {
      const auto pass = std::make_shared<Differentiated>(attend, operands_);
      return [pass] { pass->gradients(); };
    }
    return [this, attend] {
      const at::NoGradGuard no_grad;
      attend(operands_.q, operands_.k, operands_.v);
    };
  }

  // In double there are no kernels: these are Torch's operators.
  double error_of(const Attend& attend, bool backward) const {
    const auto results = [&](const Attend& run, const Operands& o) -> std::vector<at::Tensor> {
      if (backward) return Differentiated(run, o).gradients();
      const at::NoGradGuard no_grad;
      return {run(o.q, o.k, o.v)};
    };
    const Attend exact = [this](const auto& q, const auto& k, const auto& v) {
      return this->attend(q, k, v);
    };
    return worst_error(results(attend, operands_), results(exact, operands_.to(at::kDouble)));
  }

  // Billions of operations of ours and of dense attention; 0 where they were not counted.
  std::pair<double, double> gflop(bool backward) const {
    const auto heads = static_cast<double>(o_.batch * o_.heads);
    const auto dim = static_cast<double>(o_.head_dim);
    const auto q = static_cast<double>(q_grid_.tokens()),
               kv = static_cast<double>(kv_grid_.tokens());
    const double dense = backward ? dense_attention_backward_flop(q, kv, heads, dim)
                                  : dense_attention_flop(q, kv, heads, dim);
    double ours = dense;
    if (o_.preset == "monarchrt" && !backward) {
      ours = monarch_attention_flop(q_grid_, kv_grid_, o_.monarch, heads, dim);
    } else if (o_.preset == "monarchrt") {
      ours = o_.monarch.num_iters > 1
                 ? 0
                 : monarch_attention_backward_flop(q_grid_, kv_grid_, o_.monarch, heads, dim);
    } else if (o_.preset == "vmonarch") {
      ours = backward ? 0 : vmonarch_attention_flop(q_grid_, o_.vmonarch, heads, dim);
    }
    return {ours / 1e9, dense / 1e9};
  }

  // Times all implementations in turns. Returns ours.
  Measurement time(const std::string& name, bool backward) {
    const Attend kernels = [this](const auto& q, const auto& k, const auto& v) {
      return attend(q, k, v);
    };
    const Attend composed = [this](const auto& q, const auto& k, const auto& v) {
      const ops::ComposedAttentionGuard guard;
      return attend(q, k, v);
    };
    const Attend dense = [](const auto& q, const auto& k, const auto& v) {
      const ops::ComposedAttentionGuard guard;
      return ops::dense_attention(q, k, v);
    };
    const auto contender = [&](const char* implementation, const Attend& attend, bool verify) {
      Contender result{implementation, work_of(attend, backward), {}, tolerance_};
      if (verify) result.error = [this, attend, backward] { return error_of(attend, backward); };
      return result;
    };
    const bool is_dense = o_.preset == "dense";
    const auto [our_gflop, dense_gflop] = gflop(backward);
    const double matmul_gflop = 2.0 * 2048 * 2048 * 2048 / 1e9;
    std::vector<Contender> contenders;
    std::vector<double> gflops;
    const auto enter = [&](Contender contender, double gflop) {
      contenders.push_back(std::move(contender));
      gflops.push_back(gflop);
    };
    enter(contender("monarch", kernels, true), our_gflop);
    if (!is_dense) enter(contender("torch-composed", composed, true), our_gflop);
    if (o_.preset == "monarchrt" && o_.monarch.num_iters == 1) {
      const Attend einsums = [this](const auto& q, const auto& k, const auto& v) {
        return einsum_monarch(q, k, v, o_.monarch, q_grid_, kv_grid_);
      };
      Contender written = contender("torch-einsum", einsums, true);
      if (type_ != at::kFloat) written.tolerance *= 5;  // it rounds every intermediate to 16 bits
      enter(std::move(written), our_gflop);
    }
    enter(contender("torch-dense", dense, is_dense), dense_gflop);
    const at::Tensor a = at::randn({2048, 2048}).to(type_);
    const at::Tensor b = at::randn({2048, 2048}).to(type_);
    const Contender matmul{"torch-matmul", [a, b] { at::matmul(a, b); }, {}, 0};
    enter(matmul, matmul_gflop);
    if (report_.threads() > 1) {
      for (const Contender& parallel : {contenders.front(), matmul}) {
        Contender alone = parallel;
        alone.error = nullptr;
        alone.threads = 1;
        enter(std::move(alone), parallel.implementation == "monarch" ? our_gflop : matmul_gflop);
      }
    }

    const std::string shape =
        str_cat(o_.preset, ' ', o_.query_frames, " on ", o_.kv_frames, " frames of ", o_.rows, 'x',
                o_.columns, ", ", o_.batch, " x ", o_.heads, " heads x ", o_.head_dim);
    const std::vector<Measurement> measured =
        report_.run({.name = name, .shape = shape, .dtype = o_.dtype}, contenders, gflops);
    const auto seconds = [&](const std::string& implementation, std::int64_t threads) {
      for (const Measurement& m : measured) {
        if (m.implementation == implementation && m.threads == threads) return m.seconds_median;
      }
      return 0.0;
    };
    const std::int64_t threads = report_.threads();
    const double ours = seconds("monarch", threads);
    for (const char* peer : {"torch-composed", "torch-einsum", "torch-dense"}) {
      const double theirs = seconds(peer, threads);
      if (theirs == 0) continue;
      note("monarch is ", theirs / ours, str_cat(" x as fast as ", peer),
           str_cat(peer, " / monarch"));
    }
    if (threads > 1) {
      for (const char* name : {"monarch", "torch-matmul"}) {
        note(str_cat(name, " is "), seconds(name, 1) / seconds(name, threads),
             str_cat(" x as fast on ", threads, " threads as on one"),
             str_cat(name, " 1 / ", threads, " threads"));
      }
    }
    if (our_gflop > 0) {
      if (!is_dense) {
        note("monarch does 1/", dense_gflop / our_gflop, " of torch-dense's operations",
             "torch-dense operations / monarch");
      }
      note("monarch runs at ", our_gflop / ours / (matmul_gflop / seconds("torch-matmul", threads)),
           " of torch-matmul's rate", "monarch rate / torch-matmul rate");
    }
    return measured.front();
  }

  void note(const std::string& before, double value, const std::string& after,
            const std::string& ratio) {
    report_.note(str_cat(before, value, after), {{"ratio", ratio}, {"value", value}});
  }

  BenchReport& report_;
  const AttentionBench& o_;
  ops::Grid q_grid_, kv_grid_;
  at::ScalarType type_ = at::kFloat;
  double tolerance_ = 0;
  Operands operands_;
};

}  // namespace

void bench_attention(BenchReport& report, const AttentionBench& options) {
  AttentionBenchmark(report, options).run();
}

}  // namespace monarch::apps
