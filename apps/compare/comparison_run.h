// One run of `monarch compare`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/compare/model_runs.h"
#include "apps/compare/video_judge.h"
#include "monarch/evaluation/claims.h"
#include "monarch/evaluation/compare_report.h"

namespace monarch::apps {

// As the command line says (docs/cli.md).
struct CompareArguments {
  std::vector<std::string> what;  // "synthetic", "model"; empty: both
  std::string synthetic_grid = "9x30x52";
  std::string qkv, grid;
  std::string model, config, prompt_file;
  std::optional<std::int64_t> steps;
  std::int64_t timesteps = 3, heads = 96, videos = 2, max_queries = 256;
  std::vector<double> budgets{0.05};
  std::uint64_t seed = 0;
  std::string suggest;
  double psnr = 25;
  std::string output = "compare.html", json;
  bool quiet = false;
};

// Gathers what the report shows.
class ComparisonRun {
 public:
  // Checks the arguments, and that the files can be written.
  explicit ComparisonRun(const CompareArguments& arguments);

  // Measures, writes the files and prints the verdicts. Interrupted, it writes what it has.
  void run();

 private:
  bool wants(const std::string& what) const;
  void check() const;
  void measure();
  void synthetic();
  void user_file();
  void model(ComparedModel& model);
  std::vector<ComparedPrompt> prompts(const pipelines::GenerationOptions& options) const;
  void add_source(const std::string& name, const std::vector<evaluation::AttentionHead>& heads);
  void add_claims(const evaluation::SourceResult& result);
  void add_pictures(const std::string& source, const evaluation::AttentionHead& head);
  void end_quality(VideoJudge& judge, const std::string& name);
  double captured_sparsity(const evaluation::AttentionMethod& method) const;
  void write() const;
  void print() const;

  const CompareArguments& a_;
  Json report_{{"sources", Json::array()}, {"claims", Json::array()}};
  std::vector<evaluation::ReportPicture> pictures_;
};

}  // namespace monarch::apps
