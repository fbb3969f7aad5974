#include "apps/bench/harness.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iomanip>
#include <ostream>
#include <thread>
#include <utility>

#include "apps/bench/gpu_info.h"
#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/ops/device.h"
#include "monarch/ops/usage.h"

namespace monarch::apps {
namespace {

// The value of the first line "key : value" in /proc/cpuinfo.
std::string cpu_info(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return line.substr(std::min(line.find(": ") + 2, line.size()));
  }
  return "";
}

// Sets Torch's and with it our number of threads while it lives.
class ThreadCount {
 public:
  explicit ThreadCount(std::int64_t threads) : before_(at::get_num_threads()) {
    at::set_num_threads(static_cast<int>(threads));
  }
  ~ThreadCount() { at::set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double relative_error(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor a = got.to(at::kDouble);
  const at::Tensor b = want.to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

Json describe_machine(const at::Device& device) {
  Json features = Json::array();
  const std::string flags = " " + cpu_info("flags") + " ";
  for (const char* feature : {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"}) {
    if (flags.find(std::string(" ") + feature + " ") != std::string::npos)
      features.push_back(feature);
  }
  Json machine = {{"cpu", cpu_info("model name")},
                  {"features", features},
                  {"cores", std::thread::hardware_concurrency()},
                  {"compiler", str_cat("g++ ", __GNUC__, ".", __GNUC_MINOR__)},
                  {"torch_capability", at::get_cpu_capability()}};
  if (!device.is_cpu()) {
    const GpuInfo gpu = read_gpu_info();
    machine["gpu"] = gpu.model;
    machine["driver"] = gpu.driver;
  }
  return machine;
}

BenchReport::BenchReport(BenchOptions options, std::ostream& out) : options_(options), out_(out) {
  Json machine = describe_machine(options_.device);
  machine["threads"] = options_.threads;
  if (options_.json) {
    out_ << machine.dump() << std::endl;
  } else {
    out_ << machine["cpu"].get<std::string>() << ", " << machine["features"].dump() << ", "
         << options_.threads << " threads, " << machine["compiler"].get<std::string>();
    if (machine.contains("gpu")) {
      out_ << ", " << machine["gpu"].get<std::string>() << ", driver "
           << machine["driver"].get<std::string>();
    }
    out_ << std::endl;
  }
}

BenchReport::Span BenchReport::measure(const Contender& contender, std::int64_t runs) const {
  const ThreadCount threads(threads_of(contender));
  const Timer timer;
  const std::clock_t cpu = std::clock();
  for (std::int64_t i = 0; i < runs; ++i) contender.run();
  const double host_seconds = timer.seconds();
  ops::synchronize(options_.device);
  const double seconds = timer.seconds();
  return {seconds, static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC, host_seconds};
}

std::int64_t BenchReport::warm_up(const Contender& contender) const {
  const double least = options_.measurement_seconds;
  measure(contender, 1);
  std::int64_t runs = 1;
  if (least == 0) return runs;
  for (;;) {
    // Of two, or a hiccup would pass for long work.
    const double seconds =
        std::min(measure(contender, runs).seconds, measure(contender, runs).seconds);
    if (seconds >= least) return runs;
    // A tenth more than the rate asks for. A first rate may mislead: at most ten times as many.
    const double wanted = 1.1 * static_cast<double>(runs) * least / seconds;
    runs = std::clamp(static_cast<std::int64_t>(std::ceil(wanted)), runs + 1, 10 * runs);
  }
}

const std::vector<Measurement>& BenchReport::run(const Work& work,
                                                 const std::vector<Contender>& contenders,
                                                 const std::vector<double>& gflop_of) {
  last_.clear();
  ops::reset_attention_runs();
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    Measurement measurement{.work = work,
                            .implementation = contenders[i].implementation,
                            .threads = threads_of(contenders[i]),
                            .gflop = i < gflop_of.size() ? gflop_of[i] : work.gflop};
    if (contenders[i].error) {
      measurement.error = contenders[i].error();
      MONARCH_CHECK_CODE(measurement.error <= contenders[i].tolerance, kInternal, "[bench] ",
                         measurement.implementation, " is wrong by ", measurement.error,
                         " (allowed ", contenders[i].tolerance, "); not timed");
    }
    if (work.dtype.empty()) measurement.work.dtype = dtype();
    last_.push_back(measurement);
  }
  std::vector<std::vector<double>> seconds(contenders.size());
  std::vector<std::vector<double>> cpu_seconds(contenders.size());
  std::vector<std::vector<double>> host_seconds(contenders.size());
  for (std::size_t i = 0; i < contenders.size(); ++i)
    last_[i].runs_a_measurement = warm_up(contenders[i]);
  const Timer total;
  for (std::int64_t repeat = 0; repeat < options_.repeats; ++repeat) {
    if (repeat > 0 && total.seconds() > options_.max_seconds) break;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const Span all = measure(contenders[i], last_[i].runs_a_measurement);
      const auto runs = static_cast<double>(last_[i].runs_a_measurement);
      seconds[i].push_back(all.seconds / runs);
      cpu_seconds[i].push_back(all.cpu_seconds / runs);
      host_seconds[i].push_back(all.host_seconds / runs);
    }
  }
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    last_[i].seconds_median = median(seconds[i]);
    last_[i].seconds_min = *std::min_element(seconds[i].begin(), seconds[i].end());
    last_[i].seconds_max = *std::max_element(seconds[i].begin(), seconds[i].end());
    last_[i].cpu_seconds_median = median(cpu_seconds[i]);
    last_[i].host_seconds_median = median(host_seconds[i]);
    last_[i].runs = static_cast<std::int64_t>(seconds[i].size());
    print(last_[i]);
  }
  for (const ops::AttentionRuns& runs : ops::attention_runs()) note(describe(runs), runs);
  return last_;
}

void BenchReport::note(const std::string& text, const Json& json) {
  if (options_.json) {
    out_ << json.dump() << std::endl;
  } else {
    out_ << "  " << text << std::endl;
  }
}

void BenchReport::print(const Measurement& m) {
  const double gflops = m.gflop > 0 ? m.gflop / m.seconds_median : 0;
  if (options_.json) {
    Json line = {{"work", m.work.name},
                 {"implementation", m.implementation},
                 {"shape", m.work.shape},
                 {"dtype", m.work.dtype},
                 {"threads", m.threads},
                 {"seconds_median", m.seconds_median},
                 {"seconds_min", m.seconds_min},
                 {"seconds_max", m.seconds_max},
                 {"cpu_seconds_median", m.cpu_seconds_median},
                 {"runs", m.runs},
                 {"runs_a_measurement", m.runs_a_measurement},
                 {"gflop", m.gflop},
                 {"gflops", gflops}};
    if (!on_cpu()) line["host_seconds_median"] = m.host_seconds_median;
    if (m.error >= 0) line["error"] = m.error;
    out_ << line.dump() << std::endl;
    return;
  }
  out_ << std::left << std::setw(20) << m.work.name << std::setw(18) << m.implementation
       << std::right << std::fixed << std::setprecision(m.seconds_median < 0.01 ? 6 : 4)
       << m.seconds_median << " s (" << m.seconds_min << " to " << m.seconds_max << ", ";
  if (m.runs_a_measurement > 1) out_ << m.runs << " times " << m.runs_a_measurement << " runs";
  if (m.runs_a_measurement == 1) out_ << m.runs << " runs";
  out_ << "; CPU " << m.cpu_seconds_median << " s";
  if (!on_cpu()) out_ << ", host " << m.host_seconds_median << " s";
  out_ << ')';
  if (gflops > 0) out_ << std::setprecision(1) << ", " << gflops << " GFLOP/s";
  if (m.error >= 0) out_ << std::scientific << std::setprecision(1) << ", error " << m.error;
  out_ << std::defaultfloat << ", " << m.work.shape << ", " << m.work.dtype;
  if (m.threads != options_.threads)
    out_ << ", " << m.threads << " thread" << (m.threads == 1 ? "" : "s");
  out_ << std::endl;
}

}  // namespace monarch::apps
