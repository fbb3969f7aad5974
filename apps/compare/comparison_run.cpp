#include "apps/compare/comparison_run.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include "apps/command.h"
#include "apps/compare/suggestion.h"
#include "apps/progress.h"
#include "apps/solver_flags.h"
#include "monarch/base/error.h"
#include "monarch/evaluation/map_picture.h"
#include "monarch/evaluation/synthetic_attention.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/prompts.h"
#include "monarch/io/safetensors.h"
#include "monarch/models/wan/tensors.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;
using evaluation::AttentionHead;
using evaluation::AttentionMethod;

// "3x30x52": frames, rows, columns.
ops::Grid parse_token_grid(const std::string& text, const char* flag) {
  std::array<std::int64_t, 3> sizes{};
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = true;
  for (std::size_t i = 0; i < 3 && good; ++i) {
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    good = error == std::errc() && sizes[i] >= 1 && sizes[i] <= 4096 &&
           (i == 2 ? next == end : next != end && *next == 'x');
    at = next + 1;
  }
  MONARCH_CHECK(good, "[compare] ", flag, " ", text,
                " is not FRAMESxROWSxCOLUMNS of tokens; for example 3x30x52");
  return {sizes[0], sizes[1], sizes[2]};
}

std::string grid_name(const ops::Grid& grid) {
  return str_cat(grid.frames, "x", grid.height, "x", grid.width);
}

at::Tensor user_tensor(const std::shared_ptr<const io::Checkpoint>& file, const std::string& path,
                       const char* name) {
  const io::TensorEntry* entry = file->find(name);
  MONARCH_CHECK_CODE(entry != nullptr, kNotFound, "[compare] ", path, " has no tensor '", name,
                     "'; q, k and v were expected, [batch, tokens, heads, head_dim]");
  const at::Tensor tensor = models::to_tensor(*entry, file);
  MONARCH_CHECK(tensor.is_floating_point(), "[compare] tensor '", name, "' in ", path, " is of ",
                tensor.dtype().name(), "; floating-point numbers were expected");
  const std::int64_t bad = tensor.numel() - tensor.isfinite().sum().item<std::int64_t>();
  MONARCH_CHECK_CODE(bad == 0, kCorrupt, "[compare] ", bad, " of the ", tensor.numel(),
                     " numbers of tensor '", name, "' in ", path,
                     " are NaN or infinite; there is nothing to compare with");
  return tensor;
}

}  // namespace

ComparisonRun::ComparisonRun(const CompareArguments& arguments) : a_(arguments) { check(); }

bool ComparisonRun::wants(const std::string& what) const {
  return a_.what.empty() || std::find(a_.what.begin(), a_.what.end(), what) != a_.what.end();
}

void ComparisonRun::check() const {
  MONARCH_CHECK(a_.qkv.empty() || !a_.grid.empty(),
                "[compare] --qkv needs --grid FRAMESxROWSxCOLUMNS: how its tokens lie in a video");
  MONARCH_CHECK(a_.grid.empty() || !a_.qkv.empty(),
                "[compare] --grid says how the tokens of --qkv lie, which is missing; the grid of "
                "synthetic maps is --synthetic-grid, that of a model follows from its video");
  MONARCH_CHECK(a_.qkv.empty() || a_.what.empty(),
                "[compare] --qkv takes the place of --on; give one of them");
  MONARCH_CHECK(
      a_.suggest.empty() || (a_.qkv.empty() && wants("model")),
      "[compare] --suggest makes videos with a model; leave out --qkv and --on synthetic");
  MONARCH_CHECK(a_.psnr > 0 && a_.psnr <= 200,
                "[compare] --psnr must be above 0 and at most 200 dB, "
                "but is ",
                a_.psnr);
  for (const double budget : a_.budgets)
    MONARCH_CHECK(budget > 0 && budget <= 1,
                  "[compare] --budget is a part of the keys, above 0 and "
                  "at most 1, but is ",
                  budget, "; 0.05 is 5 %");
  for (const std::string& path : {a_.output, a_.json, a_.suggest}) {
    // Not committed: only to learn now, not after the work, that it cannot be written.
    if (!path.empty()) io::AtomicFile(fs::path(path));
  }
}

void ComparisonRun::run() {
  const at::NoGradGuard no_grad;
  try {
    measure();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled && !report_["sources"].empty()) write();
    throw;
  }
  write();
  print();
}

void ComparisonRun::measure() {
  if (!a_.qkv.empty()) return user_file();
  std::optional<ComparedModel> opened;  // first: what is wrong with it is said before the work
  if (wants("model")) {
    opened.emplace(a_.model, a_.config);
    check_solver_flags("compare", opened->options(), {{"--steps", a_.steps.has_value()}});
    if (a_.steps) opened->options().sampling_steps = *a_.steps;
    opened->options().validate();
  }
  if (wants("synthetic")) synthetic();
  if (opened) model(*opened);
}

void ComparisonRun::write() const {
  io::write_file(a_.output, evaluation::compare_report(report_, pictures_));
  if (!a_.json.empty()) io::write_file(a_.json, report_.dump(1) + "\n");
}

void ComparisonRun::synthetic() {
  const ops::Grid grid = parse_token_grid(a_.synthetic_grid, "--synthetic-grid");
  for (const auto kind : evaluation::kSyntheticKinds) {
    add_source(str_cat("synthetic ", evaluation::synthetic_name(kind), ", ", grid_name(grid)),
               {evaluation::synthetic_head(kind, grid, a_.seed)});
    report_["sources"].back()["about"] = evaluation::synthetic_text(kind);
  }
}

void ComparisonRun::user_file() {
  const ops::Grid grid = parse_token_grid(a_.grid, "--grid");
  const auto file = io::open_safetensors(a_.qkv);
  const auto tensor = [&](const char* name) { return user_tensor(file, a_.qkv, name); };
  const at::Tensor q = tensor("q"), k = tensor("k"), v = tensor("v");
  add_source(fs::path(a_.qkv).filename().string(), evaluation::heads_of(q, k, v, grid));
}

void ComparisonRun::model(ComparedModel& model) {
  VideoJudge judge(model, prompts(model.options()), a_.seed);
  const std::string& prompt = judge.prompts().front().text;
  std::vector<double> timesteps;
  const std::vector<AttentionHead> heads =
      model.capture(prompt, a_.seed, a_.timesteps, a_.heads, timesteps);
  const std::string name = fs::path(a_.model).filename().string();
  add_source(name + ", captured", heads);
  std::string about = str_cat("Heads of all layers at ", timesteps.size(),
                              " denoising steps of a run with dense attention.");
  if (model.own_attention() != "dense")
    about += str_cat(" The model's own attention is ", model.own_attention(),
                     ": where it was trained with it, its heads have learnt to suit it, and "
                     "dense attention is the stranger.");
  report_["sources"].back()["about"] = about;
  report_["sources"].back()["prompt"] = prompt;
  report_["sources"].back()["timesteps"] = timesteps;
  if (a_.videos > 0) end_quality(judge, name);
  if (a_.suggest.empty()) return;
  const Suggestion suggestion = suggest(judge, heads, a_.psnr, a_.quiet);
  io::write_file(a_.suggest, suggestion.yaml);
  report_["suggestion"] = {
      {"text", suggestion.text}, {"file", a_.suggest}, {"tried", suggestion.tried}};
}

std::vector<ComparedPrompt> ComparisonRun::prompts(
    const pipelines::GenerationOptions& options) const {
  const std::int64_t count = std::max<std::int64_t>(1, a_.videos);
  std::vector<ComparedPrompt> prompts;
  if (a_.prompt_file.empty()) {
    for (const Caption& caption : draw_captions(count, a_.seed, options))
      prompts.push_back({caption.text, claims_of(caption)});
    return prompts;
  }
  std::vector<std::string> lines = io::read_prompts(a_.prompt_file);
  std::erase(lines, "");
  MONARCH_CHECK(!lines.empty(), "[compare] ", a_.prompt_file, " holds no prompt; write one a line");
  lines.resize(std::min(lines.size(), static_cast<std::size_t>(count)));
  for (std::string& line : lines) prompts.push_back({std::move(line)});
  return prompts;
}

void ComparisonRun::add_source(const std::string& name, const std::vector<AttentionHead>& heads) {
  const std::vector<AttentionMethod> methods =
      evaluation::comparison_methods(heads.front().grid, a_.budgets);
  Progress progress(name, static_cast<std::int64_t>(heads.size() * methods.size()), a_.quiet);
  const evaluation::SourceResult result =
      evaluation::compare_methods(name, heads, methods, a_.max_queries, [&](std::int64_t done) {
        progress.advance(done);
        MONARCH_CHECK_CODE(!interrupted(), kCancelled, "[compare] interrupted");
      });
  progress.finish();
  report_["sources"].push_back(Json(result));
  if (heads.size() > 1 && heads.front().timestep > 0)
    report_["sources"].back()["by_layer"] = evaluation::errors_by_layer(result, heads);
  add_claims(result);
  add_pictures(name, heads[heads.size() / 2]);
}

void ComparisonRun::add_claims(const evaluation::SourceResult& result) {
  for (const evaluation::Claim& claim : evaluation::check_claims(result))
    report_["claims"].push_back(Json(claim));
}

void ComparisonRun::add_pictures(const std::string& source, const AttentionHead& head) {
  const evaluation::MapPainter painter(head);
  pictures_.push_back({source, "dense", painter.dense()});
  for (const AttentionMethod& method : evaluation::video_methods(head.grid))
    pictures_.push_back({source, method.family + ", " + method.name, painter.paint(method)});
}

void ComparisonRun::end_quality(VideoJudge& judge, const std::string& name) {
  const ops::Grid grid = judge.grid();
  const std::vector<AttentionMethod> methods = evaluation::video_methods(grid);
  evaluation::SourceResult result{
      .name = name + ", videos", .grid = grid, .measure = "RMS error of the videos"};
  Json results = Json::array();
  Progress progress("videos", static_cast<std::int64_t>(methods.size()) + 1, a_.quiet);
  results.push_back(quality_json("dense", "", 0, judge.dense_quality()));
  progress.advance(1);
  for (const AttentionMethod& method : methods) {
    const VideoJudge::Quality quality = judge.quality(evaluation::attention_by(method, grid));
    const double sparsity = captured_sparsity(method);
    results.push_back(quality_json(method.family, method.name, sparsity, quality));
    result.methods.push_back(as_result(method, sparsity, quality));
    progress.advance(static_cast<std::int64_t>(results.size()));
  }
  progress.finish();
  report_["end_quality"] = {
      {"model", name}, {"videos", judge.prompts().size()}, {"methods", results}};
  add_claims(result);
}

double ComparisonRun::captured_sparsity(const AttentionMethod& method) const {
  for (const Json& measured : report_["sources"].back()["methods"]) {
    if (measured["family"] == method.family && measured["name"] == method.name)
      return measured["sparsity"].get<double>();
  }
  return std::nan("");
}

void ComparisonRun::print() const {
  for (const Json& claim : report_["claims"]) {
    std::cout << claim["verdict"].get<std::string>() << ": "
              << claim["statement"].get<std::string>() << " (" << claim["source"].get<std::string>()
              << ")\n    " << claim["evidence"].get<std::string>() << '\n';
  }
  if (report_.contains("suggestion"))
    std::cout << "suggested, in " << a_.suggest << ": "
              << report_["suggestion"]["text"].get<std::string>() << '\n';
  std::cout << "report: " << a_.output << std::endl;
}

}  // namespace monarch::apps
