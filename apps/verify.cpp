// monarch verify: checks a downloaded model folder.
#include <iostream>
#include <memory>

#include "apps/activations.h"
#include "apps/command.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/models/wan/verify.h"

namespace monarch::apps {
namespace {

struct VerifyArguments {
  std::string folder, activations;
  bool names_only = false;
  bool json = false;
  double tolerance = 1e-3;
};

// Long lists say the same thing: the first show what kind of mistake it is.
constexpr std::size_t kShownProblems = 20;

Json to_json(const models::PartReport& report) {
  return {{"part", report.part},           {"path", report.path},
          {"tensors", report.num_tensors}, {"parameters", report.num_parameters},
          {"dtypes", report.dtypes},       {"problems", report.problems}};
}

void print_report(const models::PartReport& report) {
  std::cout << (report.problems.empty() ? "ok      " : "FAILED  ") << report.part;
  if (report.num_tensors > 0) {
    std::cout << ": " << report.num_tensors << " tensors, " << report.num_parameters
              << " parameters";
    for (const auto& [dtype, count] : report.dtypes) std::cout << ", " << dtype << " in " << count;
  }
  std::cout << (report.path.empty() ? "" : "  (" + report.path + ")") << "\n";
  for (std::size_t i = 0; i < report.problems.size() && i < kShownProblems; ++i) {
    std::cout << "        " << report.problems[i] << "\n";
  }
  if (report.problems.size() > kShownProblems) {
    std::cout << "        and " << report.problems.size() - kShownProblems
              << " more (all with --json)\n";
  }
}

void verify(const VerifyArguments& arguments) {
  const models::ModelFolder model = models::find_model(arguments.folder);
  models::VerifyOptions options;
  options.names_only = arguments.names_only;
  options.progress = [](const std::string&, const std::string&) { return !interrupted(); };
  std::size_t problems = 0;
  Json all = Json::array();
  for (const models::PartReport& report : models::verify_model(model, options)) {
    problems += report.problems.size();
    all.push_back(to_json(report));
    if (!arguments.json) print_report(report);
  }
  Json result = {{"parts", std::move(all)}};
  if (!arguments.activations.empty() && problems == 0) {
    for (const ActivationResult& activation :
         compare_activations(model, arguments.activations, arguments.tolerance)) {
      problems += activation.problem.empty() ? 0 : 1;
      result["activations"].push_back({{"name", activation.name},
                                       {"relative_error", activation.error},
                                       {"problem", activation.problem}});
      if (arguments.json) continue;
      std::cout << (activation.problem.empty() ? "ok      " : "FAILED  ") << activation.name
                << ": relative error " << activation.error << ", allowed " << arguments.tolerance
                << (activation.problem.empty() ? "" : "; " + activation.problem) << "\n";
    }
  }
  result["problems"] = problems;
  if (arguments.json) {
    std::cout << result.dump() << "\n";
  } else if (problems == 0) {
    std::cout << arguments.folder << " is complete and sound\n";
  } else {
    std::cout << arguments.folder << " has " << problems << " problem" << (problems > 1 ? "s" : "")
              << "; download the named files again or correct the configuration\n";
  }
  if (problems > 0) throw CommandFailed{kExitFailure};
}

}  // namespace

void add_verify(CLI::App& app) {
  auto arguments = std::make_shared<VerifyArguments>();
  CLI::App* command = app.add_subcommand(
      "verify", "check a downloaded model folder: names, shapes, values, activations");
  command->add_option("folder", arguments->folder, "a folder like Wan2.1-T2V-1.3B")->required();
  command->add_option("--activations", arguments->activations,
                      "compare with what tools/export_reference_activations.py wrote");
  command->add_option("--tolerance", arguments->tolerance, "relative error allowed for activations")
      ->capture_default_str();
  command->add_flag("--names-only", arguments->names_only,
                    "names and shapes only, without reading the weights");
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->footer("Example: monarch verify Wan2.1-T2V-1.3B --activations reference.safetensors");
  command->callback([arguments] { verify(*arguments); });
}

}  // namespace monarch::apps
