// Timing of interchangeable implementations of one piece of work: verified first, then timed in
// turns.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"

namespace monarch::apps {

struct BenchOptions {
  std::int64_t threads = 2;
  std::int64_t repeats = 5;  // timed runs of each implementation, after one to warm up
  double max_seconds = 600;  // of one work: fewer repeats are made when it takes longer
  bool json = false;
  at::Device device = at::kCPU;
  // Least length of a measurement: shorter work runs several times in it, or on a GPU the launch
  // would be what is measured. 0: each run is one.
  double measurement_seconds = 0;
};

// One implementation. `run` does the whole work once; a device may still be at it when it returns.
struct Contender {
  std::string implementation = {};
  std::function<void()> run = {};
  // Error of its result against the reference, measured before timing; empty: nothing to compare
  // with.
  std::function<double()> error = {};
  double tolerance = 0;
  std::int64_t threads = 0;  // 0: those of the run
};

struct Work {
  std::string name;        // "attention", "dit-layer", ...
  std::string shape;       // readable: "3 x 21 frames of 30x52, 2 heads x 128"
  std::string dtype = {};  // empty: that of the run's networks
  double gflop = 0;        // operations of the work; 0: unknown
};

struct Measurement {
  Work work;
  std::string implementation;
  std::int64_t threads = 0;
  double gflop = 0;
  double seconds_median = 0, seconds_min = 0, seconds_max = 0;
  double cpu_seconds_median = 0;  // of all threads: says more than the clock on a busy machine
  // Until a device was given the work: its waiting host may spin, so that CPU seconds do not tell.
  double host_seconds_median = 0;
  std::int64_t runs = 0;                // measurements
  std::int64_t runs_a_measurement = 1;  // seconds are those of one
  double error = -1;                    // -1: nothing to compare with
};

// Errors that a work may have in the type of the run's networks.
struct Tolerance {
  double f32, bf16;
};

class BenchReport {
 public:
  // Prints what the machine and the build are.
  BenchReport(BenchOptions options, std::ostream& out);

  // Verifies every contender (throws kInternal if one is wrong), then times them in turns, so that
  // a change in the machine's speed meets all of them. Prints a line each, then
  // which implementations of attention ran and how often, checks and warm-up included. `gflop_of`:
  // of contenders that do other amounts of arithmetic than the work says.
  const std::vector<Measurement>& run(const Work& work, const std::vector<Contender>& contenders,
                                      const std::vector<double>& gflop_of = {});

  // A line of text or a JSON object that is not a measurement (ratios, peak memory).
  void note(const std::string& text, const Json& json);

  const BenchOptions& options() const { return options_; }

  std::int64_t threads() const { return options_.threads; }
  const at::Device& device() const { return options_.device; }

  // Of networks: float32 on the CPU, bfloat16 on a GPU.
  at::ScalarType scalar_type() const { return on_cpu() ? at::kFloat : at::kBFloat16; }
  const char* dtype() const { return on_cpu() ? "f32" : "bf16"; }
  at::TensorOptions tensor_options() const {
    return at::TensorOptions().device(options_.device).dtype(scalar_type());
  }
  double allowed(const Tolerance& tolerance) const {
    return on_cpu() ? tolerance.f32 : tolerance.bf16;
  }

 private:
  struct Span {
    double seconds, cpu_seconds, host_seconds;
  };

  bool on_cpu() const { return options_.device.is_cpu(); }
  std::int64_t threads_of(const Contender& contender) const {
    return contender.threads > 0 ? contender.threads : options_.threads;
  }
  // So many runs, to the end of the device's work.
  Span measure(const Contender& contender, std::int64_t runs) const;
  // Returns how many runs make a measurement.
  std::int64_t warm_up(const Contender& contender) const;
  void print(const Measurement& measurement);

  BenchOptions options_;
  std::ostream& out_;
  std::vector<Measurement> last_;
};

// "AMD EPYC 9R14, avx512f avx512_bf16, 2 cores" and the build, as JSON; the GPU if it is the
// device.
Json describe_machine(const at::Device& device);

double median(std::vector<double> values);

// ||got - want|| / ||want||, in float64.
double relative_error(const at::Tensor& got, const at::Tensor& want);

}  // namespace monarch::apps
