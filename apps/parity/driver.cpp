#include <algorithm>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <vector>

#include "apps/parity/registry.h"
#include "monarch/base/error.h"
#include "monarch/ops/usage.h"

namespace monarch::apps {
namespace {

struct CaseReport {
  std::string op = "?";
  double worst_error = 0;
  double tolerance = 0;
  int num_skipped = 0;
  std::vector<std::string> problems;  // empty: passed
};

std::optional<DType> dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble: return DType::kF64;
    case at::kFloat: return DType::kF32;
    case at::kHalf: return DType::kF16;
    case at::kBFloat16: return DType::kBF16;
    case at::kLong: return DType::kI64;
    case at::kInt: return DType::kI32;
    case at::kByte: return DType::kU8;
    case at::kBool: return DType::kBool;
    default: return std::nullopt;
  }
}

// A view of a computed tensor in the form that io compares. `tensor` must be a contiguous CPU
// tensor and outlive the view.
io::TensorEntry entry_of(const std::string& name, const at::Tensor& tensor) {
  const auto dtype = dtype_of(tensor);
  MONARCH_CHECK_CODE(dtype.has_value(), kInternal, "[parity] '", name, "' has an unexpected type");
  return {name,
          *dtype,
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

// The attention cases state a floor for nearly zero tensors; where one leaves it out it is 0.001.
double rms_floor_of(const io::ParityCase& parity_case) {
  const bool attention = parity_case.op.find("attention") != std::string::npos;
  return attention && !parity_case.description.contains("rms_floor") ? 0.001
                                                                     : parity_case.rms_floor;
}

// optimizer_step's changes are small differences of float32 numbers, with a tolerance of their own.
double tolerance_of(const io::ParityCase& parity_case, const std::string& name) {
  const bool change = parity_case.op == "optimizer_step" && name.find(".change.") != name.npos;
  return change ? 0.03 : parity_case.rel_l2_tolerance;
}

void compare_all(const io::ParityCase& parity_case, const ParityOutput& output,
                 CaseReport& report) {
  std::vector<std::string> required = parity_case.names("expect.");
  if (required.empty()) report.problems.push_back("the case has no expect.* tensor");
  for (const std::string& name : parity_case.names("grad.")) required.push_back(name);
  for (const std::string& name : required) {
    const auto computed = output.find(name);
    if (computed == output.end() || !computed->second.defined()) {
      if (is_skippable(parity_case.op, name)) {
        ++report.num_skipped;
      } else {
        report.problems.push_back(name + ": not computed");
      }
      continue;
    }
    const at::Tensor tensor = computed->second.detach().cpu().contiguous();
    const io::Comparison comparison =
        io::compare(entry_of(name, tensor), parity_case.tensor(name),
                    tolerance_of(parity_case, name), rms_floor_of(parity_case));
    // In parts of the case's tolerance, where a tensor has another.
    report.worst_error =
        std::max(report.worst_error, parity_case.rel_l2_tolerance > 0
                                         ? comparison.error * parity_case.rel_l2_tolerance /
                                               tolerance_of(parity_case, name)
                                         : comparison.error);
    if (!comparison.passed) report.problems.push_back(name + ": " + comparison.problem);
  }
}

CaseReport replay(const std::filesystem::path& file) {
  CaseReport report;
  try {
    const io::ParityCase parity_case = io::read_parity_case(file);
    report.op = parity_case.op;
    report.tolerance = parity_case.rel_l2_tolerance;
    const auto runner = parity_runners().find(parity_case.op);
    if (runner == parity_runners().end()) {
      report.problems.push_back("unknown op");
      return report;
    }
    compare_all(parity_case, runner->second(ParityInput(parity_case, file)), report);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    report.problems.push_back(text.substr(0, text.find('\n')));
  }
  return report;
}

void print_line(std::ostream& out, const std::filesystem::path& name, const CaseReport& report) {
  out << (report.problems.empty() ? "PASS " : "FAIL ") << report.op << ' ' << name.string()
      << std::scientific << std::setprecision(2) << " error " << report.worst_error << " tolerance "
      << report.tolerance;
  if (report.num_skipped > 0)
    out << " (" << report.num_skipped << " optional intermediates skipped)";
  for (std::size_t i = 0; i < std::min<std::size_t>(report.problems.size(), 3); ++i)
    out << "; " << report.problems[i];
  if (report.problems.size() > 3) out << "; and " << report.problems.size() - 3 << " more";
  out << std::defaultfloat << '\n' << std::flush;
}

}  // namespace

int run_parity(const std::filesystem::path& folder, std::ostream& out) {
  MONARCH_CHECK(std::filesystem::exists(folder), "[parity] '", folder.string(),
                "' does not exist; give a folder of .safetensors cases");
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_regular_file(folder)) {
    files.push_back(folder);
  } else {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file() && entry.path().extension() == ".safetensors")
        files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  int num_failed = 0;
  ops::reset_attention_runs();
  for (const auto& file : files) {
    const CaseReport report = replay(file);
    num_failed += report.problems.empty() ? 0 : 1;
    print_line(out,
               files.size() == 1 && file == folder ? file.filename()
                                                   : std::filesystem::relative(file, folder),
               report);
  }
  if (files.empty()) {
    out << "FAIL no .safetensors case below " << folder.string() << '\n';
    num_failed = 1;
  }
  for (const ops::AttentionRuns& runs : ops::attention_runs()) out << describe(runs) << '\n';
  out << files.size() - (files.empty() ? 0 : num_failed) << " passed, " << num_failed
      << " failed\n";
  return num_failed;
}

}  // namespace monarch::apps
