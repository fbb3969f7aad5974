#include <ATen/ATen.h>

#include <exception>
#include <functional>
#include <map>

#include "apps/bench/einsum_monarch.h"
#include "apps/bench/flops.h"
#include "apps/bench/torch_dense.h"
#include "apps/bench/works.h"
#include "apps/device.h"
#include "monarch/base/error.h"
#include "monarch/ops/attention.h"
#include "monarch/ops/device.h"

namespace monarch::apps {
namespace {

using Attend =
    std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

struct Operands {
  at::Tensor q, k, v, grad_out;

  Operands to(const at::TensorOptions& options) const {
    return {q.to(options), k.to(options), v.to(options), grad_out.to(options)};
  }
};

// Relative error of the worst of several tensors; `want` is float64 on the CPU.
double worst_error(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& want) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const at::Tensor difference = got[i].to(at::kCPU, at::kDouble) - want[i];
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
    type_ = scalar_type_of(o_.dtype, report_.device());
    tolerance_ = o_.dtype == "bf16" ? 2e-2 : o_.dtype == "f16" ? 3e-3 : 2e-5;
    at::manual_seed(kBenchSeed);
    const auto draw = [&](const ops::Grid& grid) {
      return at::randn({o_.batch, grid.tokens(), o_.heads, o_.head_dim});
    };
    const Operands drawn{draw(q_grid_), draw(kv_grid_), draw(kv_grid_), draw(q_grid_)};
    operands_ = drawn.to(at::device(report_.device()).dtype(type_));
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

  static std::vector<at::Tensor> results(const Attend& attend, const Operands& o, bool backward) {
    if (backward) return Differentiated(attend, o).gradients();
    const at::NoGradGuard no_grad;
    return {attend(o.q, o.k, o.v)};
  }

  // In double there are no kernels: these are Torch's operators. On the CPU, whose dense attention
  // does without the whole map.
  const std::vector<at::Tensor>& exact(bool backward) {
    std::vector<at::Tensor>& exact = exact_[backward];
    if (exact.empty()) {
      exact =
          results([this](const auto& q, const auto& k, const auto& v) { return attend(q, k, v); },
                  operands_.to(at::device(at::kCPU).dtype(at::kDouble)), backward);
    }
    return exact;
  }

  double error_of(const Attend& attend, bool backward) {
    return worst_error(results(attend, operands_, backward), exact(backward));
  }

  // Why the library cannot do this, in its words; empty if it can.
  std::string refusal_of(const TorchDense& library, bool backward) const {
    try {
      work_of(library.attend, backward)();
      ops::synchronize(report_.device());
      return "";
    } catch (const std::exception& error) {
      const std::string text = error.what();
      return text.substr(0, text.find('\n'));
    }
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

  // The implementations of one direction.
  struct Race {
    bool backward;
    double our_gflop, dense_gflop, matmul_gflop;
    std::vector<Contender> contenders = {};
    std::vector<double> gflops = {};
    std::vector<std::string> dense = {};  // names of Torch's

    void enter(Contender contender, double gflop) {
      contenders.push_back(std::move(contender));
      gflops.push_back(gflop);
    }
  };

  Contender contender(const char* implementation, const Attend& attend, bool backward,
                      bool verify) {
    Contender result{implementation, work_of(attend, backward), {}, tolerance_};
    if (verify) result.error = [this, attend, backward] { return error_of(attend, backward); };
    return result;
  }

  void enter_monarch(Race& race) {
    const Attend kernels = [this](const auto& q, const auto& k, const auto& v) {
      return attend(q, k, v);
    };
    const Attend composed = [this](const auto& q, const auto& k, const auto& v) {
      const ops::ComposedAttentionGuard guard;
      return attend(q, k, v);
    };
    race.enter(contender("monarch", kernels, race.backward, true), race.our_gflop);
    if (is_dense()) return;
    race.enter(contender("torch-composed", composed, race.backward, true), race.our_gflop);
    if (o_.preset != "monarchrt" || o_.monarch.num_iters != 1) return;
    const Attend einsums = [this](const auto& q, const auto& k, const auto& v) {
      return einsum_monarch(q, k, v, o_.monarch, q_grid_, kv_grid_);
    };
    Contender written = contender("torch-einsum", einsums, race.backward, true);
    if (type_ != at::kFloat) written.tolerance *= 5;  // it rounds every intermediate to 16 bits
    race.enter(std::move(written), race.our_gflop);
  }

  // On a GPU also by name, where Torch would choose.
  void enter_dense(Race& race) {
    const Attend dense = [](const auto& q, const auto& k, const auto& v) {
      const ops::ComposedAttentionGuard guard;
      return ops::dense_attention(q, k, v);
    };
    race.enter(contender("torch-dense", dense, race.backward, is_dense()), race.dense_gflop);
    race.dense = {"torch-dense"};
    if (!on_gpu()) return;
    for (const TorchDense& library : kTorchDense) {
      if (const std::string why = refusal_of(library, race.backward); !why.empty()) {
        report_.note(str_cat(library.name, " is left out: ", why),
                     {{"left_out", library.name}, {"why", why}});
        continue;
      }
      race.enter(contender(library.name, library.attend, race.backward, is_dense()),
                 race.dense_gflop);
      race.dense.emplace_back(library.name);
    }
  }

  void enter_product(Race& race) const {
    const at::TensorOptions square = at::device(report_.device()).dtype(type_);
    const at::Tensor a = at::randn({product_side(), product_side()}, square);
    const at::Tensor b = at::randn({product_side(), product_side()}, square);
    race.enter({"torch-matmul", [a, b] { at::matmul(a, b); }, {}, 0}, race.matmul_gflop);
  }

  // Ours and the product, which stand first and last.
  static void enter_single_threads(Race& race) {
    const std::pair ours(race.contenders.front(), race.gflops.front());
    const std::pair product(race.contenders.back(), race.gflops.back());
    for (auto [alone, gflop] : {ours, product}) {
      alone.error = nullptr;
      alone.threads = 1;
      race.enter(std::move(alone), gflop);
    }
  }

  // Times all implementations in turns. Returns ours.
  Measurement time(const std::string& name, bool backward) {
    const auto side = static_cast<double>(product_side());
    const auto [our_gflop, dense_gflop] = gflop(backward);
    Race race{backward, our_gflop, dense_gflop, 2 * side * side * side / 1e9};
    enter_monarch(race);
    enter_dense(race);
    enter_product(race);
    if (compares_threads()) enter_single_threads(race);
    const std::string shape =
        str_cat(o_.preset, ' ', o_.query_frames, " on ", o_.kv_frames, " frames of ", o_.rows, 'x',
                o_.columns, ", ", o_.batch, " x ", o_.heads, " heads x ", o_.head_dim);
    const std::vector<Measurement> measured = report_.run(
        {.name = name, .shape = shape, .dtype = o_.dtype}, race.contenders, race.gflops);
    compare(race, measured);
    return measured.front();
  }

  void compare(const Race& race, const std::vector<Measurement>& measured) {
    const std::int64_t threads = report_.threads();
    const auto seconds = [&](const std::string& implementation, std::int64_t threads) {
      for (const Measurement& m : measured) {
        if (m.implementation == implementation && m.threads == threads) return m.seconds_median;
      }
      return 0.0;
    };
    const double ours = seconds("monarch", threads);
    std::vector<std::string> peers{"torch-composed", "torch-einsum"};
    peers.insert(peers.end(), race.dense.begin(), race.dense.end());
    for (const std::string& peer : peers) {
      const double theirs = seconds(peer, threads);
      if (theirs == 0) continue;
      note("monarch is ", theirs / ours, str_cat(" x as fast as ", peer),
           str_cat(peer, " / monarch"));
    }
    if (race.dense.size() > 1) {
      const auto fastest = std::min_element(
          race.dense.begin(), race.dense.end(),
          [&](const auto& a, const auto& b) { return seconds(a, threads) < seconds(b, threads); });
      note("monarch is ", seconds(*fastest, threads) / ours,
           str_cat(" x as fast as the fastest dense attention, ", *fastest),
           "fastest dense / monarch");
    }
    if (compares_threads()) {
      for (const char* name : {"monarch", "torch-matmul"}) {
        note(str_cat(name, " is "), seconds(name, 1) / seconds(name, threads),
             str_cat(" x as fast on ", threads, " threads as on one"),
             str_cat(name, " 1 / ", threads, " threads"));
      }
    }
    if (race.our_gflop == 0) return;
    if (!is_dense()) {
      note("monarch does 1/", race.dense_gflop / race.our_gflop, " of torch-dense's operations",
           "torch-dense operations / monarch");
    }
    note("monarch runs at ",
         race.our_gflop / ours / (race.matmul_gflop / seconds("torch-matmul", threads)),
         " of torch-matmul's rate", "monarch rate / torch-matmul rate");
  }

  bool is_dense() const { return o_.preset == "dense"; }
  bool on_gpu() const { return !report_.device().is_cpu(); }
  bool compares_threads() const { return !on_gpu() && report_.threads() > 1; }
  std::int64_t product_side() const { return on_gpu() ? 8192 : 2048; }  // of the matrices

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
  std::map<bool, std::vector<at::Tensor>> exact_;  // by whether they are gradients
};

}  // namespace

void bench_attention(BenchReport& report, const AttentionBench& options) {
  AttentionBenchmark(report, options).run();
}

}  // namespace monarch::apps
