// The report of `monarch compare`: one HTML file that needs nothing beside it.
#pragma once

#include <span>
#include <string>

#include "monarch/base/options_reader.h"

namespace monarch::evaluation {

// An attention map as a PNG.
struct ReportPicture {
  std::string source;  // whose section it belongs to
  std::string title;
  std::string png;  // bytes
};

// `comparison` as `monarch compare` writes it (docs/cli.md): sources, claims, and where there are
// any end_quality and suggestion.
std::string compare_report(const Json& comparison, std::span<const ReportPicture> pictures);

}  // namespace monarch::evaluation
