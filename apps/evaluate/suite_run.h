// `monarch evaluate shapes --suite`: several models on the same captions and noises.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/evaluate/frame_store.h"
#include "apps/evaluate/suite.h"
#include "apps/shapes_captions.h"
#include "monarch/evaluation/shapes_scores.h"

namespace monarch::apps {

struct SuiteArguments {
  std::string suite, output = "results.json";
  std::int64_t captions = 256, seeds = 1;
  std::uint64_t seed = 0;  // of captions and noises
  bool json = false;
};

// Writes results (.json: every video's scores and their summary), and beside them tables (.md) and
// a plot (.svg), after every entry, every pass over the captions and after Ctrl-C. An entry whose
// weights and settings are those of the results at hand goes on where it ended, so one that is
// complete is not run again. Videos that others are compared with are kept in
// OUTPUT.NAME.frames.
class SuiteRun {
 public:
  // Checks suite, arguments and earlier results.
  explicit SuiteRun(const SuiteArguments& arguments);

  // Throws CommandFailed if entries could not be measured because files are missing.
  void run();

 private:
  void resume();
  void measure(std::size_t index);
  evaluation::VideoScore one_video(const SuiteEntry& entry, pipelines::WanSystem& system,
                                   std::int64_t caption, std::int64_t noise);
  void save(std::size_t index);
  void print(const Json& entry) const;
  std::string fingerprint(std::size_t index) const;
  std::size_t index_of(const std::string& name) const;
  bool is_reference(const std::string& name) const;
  std::filesystem::path frames_path(const std::string& name) const;
  FrameStore frames(const SuiteEntry& entry) const;
  std::int64_t num_videos() const { return a_.captions * a_.seeds; }

  const SuiteArguments& a_;
  std::vector<SuiteEntry> entries_;
  std::vector<Caption> captions_;
  std::vector<std::string> fingerprints_;  // of entries_
  std::vector<std::vector<evaluation::VideoScore>> videos_;
  Json results_;
};

}  // namespace monarch::apps
