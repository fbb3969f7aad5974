#include "apps/evaluate/suite_run.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <set>

#include "apps/command.h"
#include "apps/evaluate/shapes_video.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/base/timer.h"
#include "monarch/evaluation/quality.h"
#include "monarch/evaluation/suite_report.h"
#include "monarch/io/atomic_file.h"
#include "monarch/io/sha256.h"
#include "monarch/models/wan/model_folder.h"
#include "monarch/ops/usage.h"
#include "monarch/pipelines/run_config.h"
#include "monarch/pipelines/run_options.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;
using evaluation::VideoScore;

// Noise n of caption c starts from seed + c + n kSeedStride, whatever the number of captions; n = 0
// is that of a single model's evaluation.
constexpr std::uint64_t kSeedStride = 1'000'000;

std::string sha256_of(const std::string& text) {
  return io::sha256(std::as_bytes(std::span(text.data(), text.size())));
}

void add_tensors(io::Sha256& hash, const io::Checkpoint& checkpoint) {
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    hash.update(std::as_bytes(std::span(tensor.name.data(), tensor.name.size())));
    hash.update(tensor.bytes);
  }
}

// Of all weights that make an entry's videos.
std::string weights_hash(const SuiteEntry& entry) {
  const fs::path& trained = entry.system.generator_checkpoint;
  const models::ModelFolder folder = models::find_model(entry.model, trained.empty());
  io::Sha256 hash;
  add_tensors(hash, trained.empty() ? *folder.open_transformer()
                                    : *models::generator_of(io::open_checkpoint(trained),
                                                            entry.system.generator_weights));
  for (const fs::path& part : {folder.vae, folder.text_encoder})
    add_tensors(hash, *io::open_checkpoint(part));
  return hash.hex();
}

// [T, H, W, 3] of bytes as [T, 3, H, W] in [0, 1].
at::Tensor unit_frames(const at::Tensor& bytes) {
  return bytes.permute({0, 3, 1, 2}).to(at::kDouble).div(255);
}

Json read_results(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  MONARCH_CHECK(json.is_object() && json.contains("entries") && json.contains("captions"),
                "[evaluate] ", path.string(),
                " is there but holds no results of this command; give another --output");
  return json;
}

Json caption_list(const std::vector<Caption>& captions) {
  Json list = Json::array();
  for (const Caption& caption : captions)
    list.push_back({{"text", caption.text}, {"shapes", caption.scene.objects.size()}});
  return list;
}

}  // namespace

SuiteRun::SuiteRun(const SuiteArguments& arguments)
    : a_(arguments), entries_(read_suite(arguments.suite)), videos_(entries_.size()) {
  MONARCH_CHECK(a_.seeds >= 1, "[evaluate] --seeds must be at least 1, but is ", a_.seeds);
  MONARCH_CHECK(fs::path(a_.output).extension() == ".json", "[evaluate] --output ", a_.output,
                " does not end in .json; tables and plot are written beside it");
  const auto there = std::find_if(entries_.begin(), entries_.end(),
                                  [](const SuiteEntry& entry) { return entry.missing.empty(); });
  MONARCH_CHECK_CODE(there != entries_.end(), kNotFound, "[evaluate] no entry of ", a_.suite,
                     " can be measured: there is no ", entries_.front().missing);
  captions_ = draw_captions(a_.captions, a_.seed, there->options);
  for (std::size_t i = 0; i < entries_.size(); ++i) fingerprints_.push_back(fingerprint(i));
  results_ = {{"captions", caption_list(captions_)}, {"seeds", a_.seeds}, {"seed", a_.seed}};
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const SuiteEntry& entry = entries_[i];
    Json json{{"name", entry.name}, {"about", entry.about}, {"reference", entry.reference}};
    if (!entry.missing.empty()) json["missing"] = entry.missing;
    json["complete"] = false;
    json["wall_seconds"] = 0.0;
    results_["entries"].push_back(json);
  }
  if (fs::exists(a_.output)) resume();
}

// Takes over what is in the results file and still holds.
void SuiteRun::resume() {
  const Json before = read_results(a_.output);
  for (const char* key : {"captions", "seeds", "seed"}) {
    MONARCH_CHECK(before[key] == results_[key], "[evaluate] ", a_.output,
                  " holds results of other ", key,
                  "; give the same --captions, --seeds and --seed, or another --output");
  }
  for (const Json& old : before["entries"]) {
    const auto name = old["name"].get<std::string>();
    const std::size_t index = index_of(name);
    MONARCH_CHECK(index < entries_.size() || !old.contains("videos"), "[evaluate] ", a_.output,
                  " holds an entry '", name,
                  "', which the suite does not name; give another "
                  "--output, or take the entry out of the file");
    if (index >= entries_.size() || !old.contains("videos")) continue;
    const SuiteEntry& entry = entries_[index];
    const bool missing = !entry.missing.empty();  // then nothing can have changed
    if (!missing && old["fingerprint"] != fingerprints_[index]) {
      std::cerr << "monarch: " << name << ": weights or settings are not those of " << a_.output
                << "; it is measured again\n";
      continue;
    }
    if (!missing && is_reference(name) && !fs::exists(frames_path(name))) {
      std::cerr << "monarch: " << name << ": " << frames_path(name).string()
                << " is gone; it is measured again\n";
      continue;
    }
    for (const Json& video : old["videos"])
      videos_[index].push_back(evaluation::video_score_from_json(video));
    results_["entries"][index] = old;
    results_["entries"][index]["about"] = entry.about;
  }
}

// Changes with everything that the entry's results depend on, but captions and noises.
std::string SuiteRun::fingerprint(std::size_t index) const {
  const SuiteEntry& entry = entries_[index];
  if (!entry.missing.empty()) return "";
  const std::size_t reference = index_of(entry.reference);
  return sha256_of(Json{{"weights", weights_hash(entry)},
                        {"settings", pipelines::settings_of(entry.options)},
                        {"reference", reference < index ? fingerprints_[reference] : ""}}
                       .dump());
}

std::size_t SuiteRun::index_of(const std::string& name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const SuiteEntry& entry) { return entry.name == name; });
  return static_cast<std::size_t>(found - entries_.begin());
}

bool SuiteRun::is_reference(const std::string& name) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const SuiteEntry& entry) { return entry.reference == name; });
}

fs::path SuiteRun::frames_path(const std::string& name) const {
  return fs::path(a_.output).replace_extension(name + ".frames");
}

FrameStore SuiteRun::frames(const SuiteEntry& entry) const {
  return {frames_path(entry.name), entry.options.num_frames, entry.options.height,
          entry.options.width};
}

VideoScore SuiteRun::one_video(const SuiteEntry& entry, pipelines::WanSystem& system,
                               std::int64_t caption, std::int64_t noise) {
  const Caption& what = captions_[static_cast<std::size_t>(caption)];
  const std::int64_t place = noise * a_.captions + caption;
  const std::uint64_t seed = a_.seed + static_cast<std::uint64_t>(caption) +
                             kSeedStride * static_cast<std::uint64_t>(noise);
  const ShapesVideo made = make_shapes_video(system, entry.options, what.text, seed);
  VideoScore score = evaluation::score_video(claims_of(what), analyse_frames(made.frames));
  score.caption = caption;
  score.seed = noise;
  score.seconds = made.seconds;
  if (is_reference(entry.name)) frames(entry).write(place, made.frames);
  if (entry.reference.empty()) return score;
  const at::Tensor mine = unit_frames(made.frames);
  const at::Tensor theirs = unit_frames(frames(entries_[index_of(entry.reference)]).read(place));
  const double psnr = evaluation::psnr(mine, theirs);
  if (std::isfinite(psnr)) score.psnr = psnr;
  score.ssim = evaluation::ssim(mine, theirs);
  return score;
}

void SuiteRun::measure(std::size_t index) {
  const SuiteEntry& entry = entries_[index];
  std::set<std::pair<std::int64_t, std::int64_t>> done;
  for (const VideoScore& video : videos_[index]) done.insert({video.seed, video.caption});
  Json& json = results_["entries"][index];
  const Timer timer;
  const double before = json["wall_seconds"].get<double>();
  pipelines::WanSystem system(entry.model, entry.system);
  json["fingerprint"] = fingerprints_[index];
  json["settings"] = pipelines::settings_of(entry.options);
  json["mode"] = pipelines::generation_mode_name(entry.options.mode());
  json["attention"] = pipelines::describe_attention(system, entry.options);
  Progress progress(entry.name, num_videos(), a_.json);
  try {
    for (std::int64_t noise = 0; noise < a_.seeds; ++noise) {
      for (std::int64_t caption = 0; caption < a_.captions; ++caption) {
        if (done.contains({noise, caption})) continue;
        ops::reset_attention_runs();
        videos_[index].push_back(one_video(entry, system, caption, noise));
        json["sparsity"] = ops::self_attention_maps(ops::attention_runs()).sparsity();
        json["wall_seconds"] = before + timer.seconds();
        progress.advance(static_cast<std::int64_t>(videos_[index].size()));
      }
      save(index);
    }
  } catch (const Error&) {
    progress.finish();
    if (videos_[index].empty()) throw;
    save(index);
    std::cerr << "monarch: " << entry.name << " stopped after " << videos_[index].size() << " of "
              << num_videos() << " videos, which are in " << a_.output
              << "; the same command goes on from there\n";
    throw;
  }
}

// Brings the entry's part of the results up to date and writes all files.
void SuiteRun::save(std::size_t index) {
  const SuiteEntry& entry = entries_[index];
  Json& json = results_["entries"][index];
  json["complete"] = static_cast<std::int64_t>(videos_[index].size()) == num_videos();
  json["videos"] = Json::array();
  for (const VideoScore& video : videos_[index])
    json["videos"].push_back(evaluation::to_json(video));
  const std::size_t reference = index_of(entry.reference);
  json["summary"] = evaluation::summarize(
      videos_[index], reference < entries_.size() ? std::span<const VideoScore>(videos_[reference])
                                                  : std::span<const VideoScore>());
  const fs::path output = a_.output;
  io::write_file(output, results_.dump(1) + '\n');
  io::write_file(fs::path(output).replace_extension(".md"), evaluation::suite_markdown(results_));
  io::write_file(fs::path(output).replace_extension(".svg"), evaluation::suite_svg(results_));
}

void SuiteRun::print(const Json& entry) const {
  if (a_.json) {
    Json shown = entry;
    shown.erase("videos");
    std::cout << shown.dump() << std::endl;
    return;
  }
  const Json& summary = entry["summary"];
  std::cout << std::left << std::setw(24) << entry["name"].get<std::string>() << std::right
            << std::fixed << std::setprecision(1) << std::setw(5)
            << 100 * entry["sparsity"].get<double>() << " % sparse, of "
            << summary["every"]["shapes"] << " shapes";
  for (const auto& [key, title] : {std::pair{"color", "colour"},
                                   {"shape", "shape"},
                                   {"motion", "motion"},
                                   {"all", "all three"}})
    std::cout << ", " << title << ' ' << summary["every"][key]["percent"].get<double>() << " %";
  if (summary.contains("difference")) {
    const Json& difference = summary["difference"]["all"];
    std::cout << std::showpos << "; all three " << difference["points"].get<double>();
    if (difference["low"].is_number())
      std::cout << " (" << difference["low"].get<double>() << " to "
                << difference["high"].get<double>() << ')';
    std::cout << std::noshowpos << " points against " << entry["reference"].get<std::string>();
  }
  std::cout << std::endl;
}

void SuiteRun::run() {
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!results_["entries"][i]["complete"].get<bool>()) {
      if (!entries_[i].missing.empty()) {
        missing.push_back(entries_[i].name + " (there is no " + entries_[i].missing + ")");
        continue;
      }
      measure(i);
    }
    print(results_["entries"][i]);
  }
  std::cerr << "results, tables and plot: " << a_.output << ", "
            << fs::path(a_.output).replace_extension(".md").string() << ", "
            << fs::path(a_.output).replace_extension(".svg").string() << '\n';
  if (missing.empty()) return;
  for (const std::string& name : missing) std::cerr << "monarch: not measured: " << name << '\n';
  throw CommandFailed{kExitFailure};
}

}  // namespace monarch::apps
