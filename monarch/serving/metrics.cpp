#include "monarch/serving/metrics.h"

#include <algorithm>
#include <charconv>

#include "monarch/base/error.h"

namespace monarch::serving {
namespace {

// Shortest text that reads back as the same number.
std::string number(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return error == std::errc() ? std::string(text, end) : "NaN";
}

void line(std::string& out, const std::string& name, const std::string& labels, double value) {
  out += name;
  if (!labels.empty()) out += '{' + labels + '}';
  out += ' ' + number(value) + '\n';
}

}  // namespace

void Metrics::declare(const std::string& name, Metric metric) {
  const std::lock_guard lock(mutex_);
  metrics_.emplace(name, std::move(metric));
}

void Metrics::declare_counter(const std::string& name, const std::string& help) {
  declare(name, {.kind = Kind::kCounter, .help = help});
}

void Metrics::declare_gauge(const std::string& name, const std::string& help) {
  declare(name, {.kind = Kind::kGauge, .help = help});
}

void Metrics::declare_histogram(const std::string& name, const std::string& help,
                                std::vector<double> bounds) {
  Metric metric{.kind = Kind::kHistogram, .help = help};
  metric.buckets.resize(bounds.size() + 1);
  metric.bounds = std::move(bounds);
  declare(name, std::move(metric));
}

Metrics::Metric& Metrics::find(const std::string& name, Kind kind) {
  const auto found = metrics_.find(name);
  MONARCH_CHECK_CODE(found != metrics_.end() && found->second.kind == kind, kInternal,
                     "[monarch_serving] metric ", name, " was not declared as what it is used for");
  return found->second;
}

void Metrics::add(const std::string& name, double amount, const std::string& labels) {
  const std::lock_guard lock(mutex_);
  find(name, Kind::kCounter).values[labels] += amount;
}

void Metrics::set(const std::string& name, double value, const std::string& labels) {
  const std::lock_guard lock(mutex_);
  find(name, Kind::kGauge).values[labels] = value;
}

void Metrics::observe(const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  Metric& metric = find(name, Kind::kHistogram);
  const auto bucket = std::ranges::lower_bound(metric.bounds, value) - metric.bounds.begin();
  ++metric.buckets[static_cast<std::size_t>(bucket)];
  metric.sum += value;
}

double Metrics::value(const std::string& name, const std::string& labels) const {
  const std::lock_guard lock(mutex_);
  const auto metric = metrics_.find(name);
  if (metric == metrics_.end()) return 0;
  const auto found = metric->second.values.find(labels);
  return found == metric->second.values.end() ? 0 : found->second;
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, metric] : metrics_) {
    constexpr const char* kKinds[] = {"counter", "gauge", "histogram"};
    out += str_cat("# HELP ", name, ' ', metric.help, "\n# TYPE ", name, ' ',
                   kKinds[static_cast<int>(metric.kind)], '\n');
    if (metric.kind != Kind::kHistogram) {
      if (metric.values.empty()) line(out, name, "", 0);
      for (const auto& [labels, value] : metric.values) line(out, name, labels, value);
      continue;
    }
    double count = 0;
    for (std::size_t i = 0; i < metric.buckets.size(); ++i) {
      count += static_cast<double>(metric.buckets[i]);
      const std::string bound = i < metric.bounds.size() ? number(metric.bounds[i]) : "+Inf";
      line(out, name + "_bucket", "le=\"" + bound + '"', count);
    }
    line(out, name + "_sum", "", metric.sum);
    line(out, name + "_count", "", count);
  }
  return out;
}

std::string label(const std::string& name, const std::string& value) {
  std::string text = name + "=\"";
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

}  // namespace monarch::serving
