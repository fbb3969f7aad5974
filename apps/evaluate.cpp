// `monarch evaluate shapes`: does a video show what its caption says?
//
// Captions come from combinations of colour, shape and motion that training never draws. The videos
// are generated with Monarch and with dense attention from the same noise, or, to judge the
// analyser itself, rendered (--source truth) or rendered and passed through the VAE (--source vae).
// With --suite several models are measured on the same captions and noises, with --stream the two
// ends of long streams.
#include <iomanip>
#include <iostream>
#include <memory>

#include "apps/command.h"
#include "apps/evaluate/shapes_video.h"
#include "apps/evaluate/stream_run.h"
#include "apps/evaluate/suite_run.h"
#include "apps/progress.h"
#include "apps/shapes_captions.h"
#include "apps/shipped.h"
#include "apps/solver_flags.h"
#include "monarch/base/error.h"
#include "monarch/evaluation/shapes_analyser.h"
#include "monarch/pipelines/default_options.h"
#include "monarch/pipelines/frame_sink.h"
#include "monarch/training/data/shapes_dataset.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

struct EvaluateArguments {
  std::string what, model = kShapesModel, source = "model", attention = "both";
  std::int64_t captions = 64;
  std::optional<std::int64_t> steps;
  std::optional<double> guidance;
  std::optional<std::int64_t> stream;  // latent frames
  std::uint64_t seed = 0;
  bool json = false;
  bool each = false;
  SuiteArguments suite;
};

void print_tally(const EvaluateArguments& a, const std::string& videos, const std::string& captions,
                 const evaluation::ShapesTally& tally) {
  if (tally.shapes == 0) return;
  if (a.json) {
    Json json = evaluation::percentages(tally);
    json["videos"] = videos;
    json["captions"] = captions;
    std::cout << json.dump() << std::endl;
    return;
  }
  std::cout << std::left << std::setw(12) << videos << std::setw(22) << captions << std::right
            << std::fixed << std::setprecision(1) << "colour " << std::setw(5)
            << tally.percent(tally.color) << " %   shape " << std::setw(5)
            << tally.percent(tally.kind) << " %   motion " << std::setw(5)
            << tally.percent(tally.motion) << " %   all three " << std::setw(5)
            << tally.percent(tally.all) << " %   (" << tally.shapes << " shapes)" << std::endl;
}

void print_each(const EvaluateArguments& a, const std::string& videos, const Caption& caption,
                const evaluation::ShapesAnalysis& analysis) {
  if (a.json) {
    Json seen = Json::array();
    for (const auto& shape : analysis.shapes) {
      seen.push_back({{"color", evaluation::color_name(shape.color)},
                      {"shape", shape.kind ? Json(evaluation::kind_name(*shape.kind)) : Json()},
                      {"motion", evaluation::motion_name(shape.motion)},
                      {"overlap", shape.overlap},
                      {"presence", shape.presence}});
    }
    std::cout << Json{{"videos", videos}, {"caption", caption.text}, {"seen", seen}}.dump() << '\n';
    return;
  }
  std::cout << caption.text << "\n";
  for (const auto& shape : analysis.shapes) {
    std::cout << "    seen: " << evaluation::color_name(shape.color) << ' '
              << (shape.kind ? evaluation::kind_name(*shape.kind) : "unknown outline") << ", "
              << evaluation::motion_name(shape.motion) << std::fixed << std::setprecision(2)
              << "   (overlap " << shape.overlap << ")\n";
  }
  if (analysis.shapes.empty()) std::cout << "    seen: nothing\n";
}

// One analysis a caption; then the tallies, also against captions of other videos: chance.
void report(const EvaluateArguments& a, const std::string& videos,
            const std::vector<Caption>& captions,
            const std::vector<evaluation::ShapesAnalysis>& analyses) {
  evaluation::ShapesTally one, two, shuffled;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    if (a.each) print_each(a, videos, captions[i], analyses[i]);
    for (const auto& score : evaluation::score_claims(claims_of(captions[i]), analyses[i])) {
      (captions[i].scene.objects.size() == 1 ? one : two).add(score);
    }
    const Caption& other = captions[(i + captions.size() / 3) % captions.size()];
    if (captions[i].scene.objects.size() == 1 && other.scene.objects.size() == 1) {
      for (const auto& score : evaluation::score_claims(claims_of(other), analyses[i]))
        shuffled.add(score);
    }
  }
  print_tally(a, videos, "one shape", one);
  print_tally(a, videos, "two shapes", two);
  print_tally(a, videos, "one shape, shuffled", shuffled);
}

pipelines::GenerationOptions model_options(const EvaluateArguments& a) {
  pipelines::GenerationOptions options = pipelines::default_options(a.model);
  check_solver_flags(
      "evaluate", options,
      {{"--steps", a.steps.has_value()}, {"--guidance", a.guidance.value_or(1) != 1}});
  if (a.steps) options.sampling_steps = *a.steps;
  if (a.guidance) options.guidance_scale = *a.guidance;
  return options;
}

void evaluate_model(const EvaluateArguments& a, const std::vector<Caption>& captions,
                    pipelines::GenerationOptions options, pipelines::AttentionPreset attention) {
  options.attention = attention;
  options.attention_rules.clear();
  options.monarch.enable = attention == pipelines::AttentionPreset::kMonarchRt;
  pipelines::WanSystem system(a.model);
  std::vector<evaluation::ShapesAnalysis> analyses;
  const std::string name(pipelines::attention_preset_name(attention));
  Progress progress(name, static_cast<std::int64_t>(captions.size()), a.json);
  for (std::size_t i = 0; i < captions.size(); ++i) {
    analyses.push_back(
        analyse_frames(make_shapes_video(system, options, captions[i].text, a.seed + i).frames));
    progress.advance(static_cast<std::int64_t>(i) + 1);
  }
  progress.finish();
  report(a, name, captions, analyses);
}

void evaluate_analyser(const EvaluateArguments& a, const std::vector<Caption>& captions,
                       const pipelines::GenerationOptions& options) {
  const at::NoGradGuard no_grad;
  std::shared_ptr<const models::WanVae> vae;
  if (a.source == "vae") vae = pipelines::WanSystem(a.model).vae();
  std::vector<evaluation::ShapesAnalysis> analyses;
  for (const Caption& caption : captions) {
    const training::ShapesDataset data({.width = static_cast<int>(options.width),
                                        .height = static_cast<int>(options.height),
                                        .frames = static_cast<int>(options.num_frames)},
                                       0);
    at::Tensor video = data.video(caption.scene).unsqueeze(0);
    if (vae) video = vae->decode(vae->encode(video));
    analyses.push_back(
        analyse_frames(pipelines::to_rgb8(pipelines::to_unit_range(video))[0].contiguous()));
  }
  report(a, a.source, captions, analyses);
}

void run_suite(EvaluateArguments& a) {
  a.suite.captions = a.captions;
  a.suite.seed = a.seed;
  a.suite.json = a.json;
  SuiteRun(a.suite).run();
}

void run_evaluate(EvaluateArguments& a) {
  MONARCH_CHECK(a.captions >= 1, "[evaluate] --captions must be at least 1, but is ", a.captions);
  if (!a.suite.suite.empty()) return run_suite(a);
  const pipelines::GenerationOptions options = model_options(a);
  const std::vector<Caption> captions = draw_captions(a.captions, a.seed, options);
  if (a.source != "model") return evaluate_analyser(a, captions, options);
  if (a.stream) {
    return evaluate_streams({.model = a.model,
                             .latent_frames = *a.stream,
                             .seed = a.seed,
                             .json = a.json,
                             .each = a.each},
                            captions, options);
  }
  if (a.attention != "dense")
    evaluate_model(a, captions, options, pipelines::AttentionPreset::kMonarchRt);
  if (a.attention != "monarch")
    evaluate_model(a, captions, options, pipelines::AttentionPreset::kDense);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto a = std::make_shared<EvaluateArguments>();
  CLI::App* command =
      app.add_subcommand("evaluate", "measure whether generated videos show what captions say");
  command->add_option("what", a->what, "what to evaluate: shapes")
      ->required()
      ->check(CLI::IsMember({"shapes"}));
  CLI::Option* suite = command->add_option("--suite", a->suite.suite,
                                           "YAML: several models on the same captions and noises");
  command->add_option("--model", a->model, "model folder")->capture_default_str()->excludes(suite);
  command->add_option("--captions", a->captions, "held-out captions; a quarter has two shapes")
      ->capture_default_str();
  command
      ->add_option("--source", a->source, "videos: model, or truth and vae to check the analyser")
      ->check(CLI::IsMember({"model", "truth", "vae"}))
      ->capture_default_str()
      ->excludes(suite);
  command->add_option("--attention", a->attention, "monarch, dense or both")
      ->check(CLI::IsMember({"monarch", "dense", "both"}))
      ->capture_default_str()
      ->excludes(suite);
  command->add_option("--steps", a->steps, "denoising steps (default: the model's)")
      ->excludes(suite);
  command->add_option("--guidance", a->guidance, "guidance scale (default: the model's)")
      ->excludes(suite);
  command
      ->add_option("--stream", a->stream,
                   "latent frames of a stream; the first and the last 200 are judged, with the "
                   "model's own attention and steps")
      ->excludes(suite)
      ->excludes("--source")
      ->excludes("--attention")
      ->excludes("--steps")
      ->excludes("--guidance");
  command->add_option("--seed", a->seed, "seed of captions and noise")->capture_default_str();
  command->add_flag("--json", a->json, "one JSON object a line");
  command->add_flag("--each", a->each, "also print every caption and what was seen in its video")
      ->excludes(suite);
  command->add_option("--seeds", a->suite.seeds, "with --suite: noises of every caption")
      ->capture_default_str()
      ->needs(suite);
  command
      ->add_option("--output", a->suite.output,
                   "with --suite: NAME.json; tables (.md) and a plot (.svg) go beside it. What is "
                   "complete there is not measured again")
      ->capture_default_str()
      ->needs(suite);
  command->footer(
      "Examples:\n"
      "  monarch evaluate shapes --captions 64 --json\n"
      "  monarch evaluate shapes --suite configs/shapes/results.yaml --captions 256 --seeds 3 "
      "--output results.json\n"
      "  monarch evaluate shapes --model models/shapes_stream --stream 2000 --captions 8 --each");
  command->callback([a] {
    a->model = shipped_path(a->model);
    run_evaluate(*a);
  });
}

}  // namespace monarch::apps
