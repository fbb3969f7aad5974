// Numbers about the server in Prometheus' text format (version 0.0.4).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace monarch::serving {

// Thread-safe. A metric is declared once; what is not declared is our own mistake (kInternal).
class Metrics {
 public:
  void declare_counter(const std::string& name, const std::string& help);
  void declare_gauge(const std::string& name, const std::string& help);
  // `bounds`: upper ends of the buckets, ascending.
  void declare_histogram(const std::string& name, const std::string& help,
                         std::vector<double> bounds);

  // `labels` as they are printed: `status="200"`.
  void add(const std::string& name, double amount = 1, const std::string& labels = {});
  void set(const std::string& name, double value, const std::string& labels = {});
  void observe(const std::string& name, double value);

  double value(const std::string& name, const std::string& labels = {}) const;
  std::string text() const;

 private:
  enum class Kind { kCounter, kGauge, kHistogram };
  struct Metric {
    Kind kind = Kind::kCounter;
    std::string help = {};
    std::map<std::string, double> values = {};  // by labels
    std::vector<double> bounds = {};
    std::vector<std::uint64_t> buckets = {};  // one more than bounds
    double sum = 0;
  };

  void declare(const std::string& name, Metric metric);
  Metric& find(const std::string& name, Kind kind);

  mutable std::mutex mutex_;
  std::map<std::string, Metric> metrics_;
};

// The value of a label with quotes, backslashes and line ends escaped.
std::string label(const std::string& name, const std::string& value);

}  // namespace monarch::serving
