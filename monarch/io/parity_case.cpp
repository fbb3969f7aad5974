#include "monarch/io/parity_case.h"

#include <cmath>
#include <limits>

#include "monarch/base/error.h"
#include "monarch/io/safetensors.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Below this norm a relative error means nothing.
constexpr double kTinyNorm = 1e-12;

double number(const Json& object, const char* key, double fallback, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  MONARCH_CHECK_CODE(found->is_number(), kCorrupt, "[monarch_io] ", where, ": case.", key,
                     " is not a number");
  const double value = found->get<double>();
  MONARCH_CHECK_CODE(std::isfinite(value) && value >= 0, kCorrupt, "[monarch_io] ", where,
                     ": case.", key, " is ", value, "; zero or more was expected");
  return value;
}

Comparison compare_integers(const TensorEntry& got, const TensorEntry& want) {
  const std::vector<std::int64_t> a = to_int64s(got), b = to_int64s(want);
  Comparison result;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (a[i] == b[i]) continue;
    if (result.error == 0) {
      result.problem = str_cat("element ", i, " is ", a[i], ", expected ", b[i]);
    }
    result.error += 1;
  }
  result.passed = result.error == 0;
  return result;
}

Comparison compare_floats(const TensorEntry& got, const TensorEntry& want, double tolerance,
                          double rms_floor) {
  const std::vector<double> a = to_doubles(got), b = to_doubles(want);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i])) return {false, kInfinity, str_cat("element ", i, " is ", a[i])};
    if (!std::isfinite(b[i])) {
      return {false, kInfinity, str_cat("the expected element ", i, " is ", b[i])};
    }
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  const double scale =
      std::max(std::sqrt(norm), rms_floor * std::sqrt(static_cast<double>(b.size())));
  Comparison result;
  result.error = scale < kTinyNorm ? std::sqrt(difference) : std::sqrt(difference) / scale;
  result.passed = result.error <= tolerance;
  if (!result.passed) {
    result.problem = str_cat("relative error ", result.error, ", allowed ", tolerance);
  }
  return result;
}

}  // namespace

const TensorEntry& ParityCase::tensor(std::string_view name) const {
  const TensorEntry* found = file->find(name);
  MONARCH_CHECK_CODE(found != nullptr, kNotFound, "[monarch_io] the ", op, " case has no tensor ",
                     quote(name));
  return *found;
}

std::vector<std::string> ParityCase::names(std::string_view prefix) const {
  std::vector<std::string> found;
  for (const TensorEntry& entry : file->tensors()) {
    if (entry.name.starts_with(prefix)) found.push_back(entry.name);
  }
  return found;
}

ParityCase read_parity_case(const std::filesystem::path& path) {
  return read_parity_case(open_safetensors(path), path.string());
}

ParityCase read_parity_case(std::shared_ptr<const Checkpoint> file, const std::string& where) {
  ParityCase result;
  result.file = std::move(file);
  const auto text = result.file->metadata().find("case");
  MONARCH_CHECK_CODE(text != result.file->metadata().end(), kCorrupt, "[monarch_io] ", where,
                     " is not a parity case: __metadata__ has no entry 'case'");
  result.description = Json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  const Json& object = result.description;
  MONARCH_CHECK_CODE(object.is_object(), kCorrupt, "[monarch_io] ", where,
                     ": __metadata__.case is not a JSON object");
  const auto op = object.find("op");
  MONARCH_CHECK_CODE(op != object.end() && op->is_string(), kCorrupt, "[monarch_io] ", where,
                     ": case.op is missing");
  result.op = op->get<std::string>();
  result.config = object.value("config", Json::object());
  MONARCH_CHECK_CODE(result.config.is_object(), kCorrupt, "[monarch_io] ", where,
                     ": case.config is not an object");
  MONARCH_CHECK_CODE(object.contains("rel_l2_tolerance"), kCorrupt, "[monarch_io] ", where,
                     ": case.rel_l2_tolerance is missing");
  result.rel_l2_tolerance = number(object, "rel_l2_tolerance", 0, where);
  result.rms_floor = number(object, "rms_floor", 0, where);
  return result;
}

Comparison compare(const TensorEntry& got, const TensorEntry& want, double tolerance,
                   double rms_floor) {
  if (got.shape != want.shape) {
    return {false, kInfinity,
            str_cat("shape ", shape_string(got.shape), ", expected ", shape_string(want.shape))};
  }
  if (is_floating(got.dtype) != is_floating(want.dtype)) {
    return {false, kInfinity,
            str_cat("dtype ", dtype_name(got.dtype), ", expected ", dtype_name(want.dtype))};
  }
  return is_floating(want.dtype) ? compare_floats(got, want, tolerance, rms_floor)
                                 : compare_integers(got, want);
}

}  // namespace monarch::io
