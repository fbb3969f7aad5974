#include <iostream>
#include <memory>

#include "apps/command.h"
#include "apps/parity/registry.h"

namespace monarch::apps {

void add_parity(CLI::App& app) {
  auto folder = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("parity", "replay stored cases of the Python originals and compare");
  command->add_option("folder", *folder, "a folder of .safetensors cases, or one file")->required();
  command->footer("Example: monarch parity tests/fixtures");
  command->callback([folder] {
    if (run_parity(*folder, std::cout) > 0) throw CommandFailed{kExitFailure};
  });
}

}  // namespace monarch::apps
