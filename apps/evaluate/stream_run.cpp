#include "apps/evaluate/stream_run.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <iomanip>
#include <iostream>
#include <span>

#include "apps/command.h"
#include "apps/progress.h"
#include "monarch/base/error.h"
#include "monarch/base/options_reader.h"
#include "monarch/evaluation/shapes_scores.h"
#include "monarch/serving/memory.h"
#include "monarch/serving/wan/wan_engine.h"

namespace monarch::apps {
namespace {

using Frame = std::vector<std::uint8_t>;

constexpr std::int64_t kEnd = 200;    // latent frames that are judged at either end
constexpr std::int64_t kVideo = 21;   // frames that are judged together, as in training
constexpr std::size_t kSettled = 50;  // chunks after which times count, if there are more
constexpr std::size_t kTimedChunks = 100;

// One end of a stream.
struct End {
  evaluation::ShapesTally tally;
  double movement = 0;       // mean absolute change of a colour value from frame to frame, of 255
  double chunk_seconds = 0;  // median
  std::uint64_t memory = 0;  // largest
};

struct ChunkCost {
  double seconds = 0;
  std::uint64_t memory = 0;
};

struct StreamReport {
  End first, last;
  double sparsity = 0;
};

double movement(const std::deque<Frame>& frames) {
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t t = 1; t < frames.size(); ++t) {
    for (std::size_t i = 0; i < frames[t].size(); ++i)
      sum += std::abs(int{frames[t][i]} - int{frames[t - 1][i]});
    count += frames[t].size();
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

End judge(const std::deque<Frame>& frames, const Caption& caption, std::int64_t height,
          std::int64_t width) {
  End end;
  const auto all = static_cast<std::int64_t>(frames.size());
  for (std::int64_t begin = 0; begin + kVideo <= all; begin += kVideo) {
    Frame video;
    for (std::int64_t t = begin; t < begin + kVideo; ++t) {
      const Frame& frame = frames[static_cast<std::size_t>(t)];
      video.insert(video.end(), frame.begin(), frame.end());
    }
    const evaluation::ShapesAnalysis seen = evaluation::analyse_shapes(
        video, static_cast<int>(kVideo), static_cast<int>(height), static_cast<int>(width));
    for (const auto& score : evaluation::score_claims(claims_of(caption), seen))
      end.tally.add(score);
  }
  end.movement = movement(frames);
  return end;
}

void add_cost(End& end, std::span<const ChunkCost> chunks) {
  std::vector<double> seconds;
  for (const ChunkCost& chunk : chunks) {
    seconds.push_back(chunk.seconds);
    end.memory = std::max(end.memory, chunk.memory);
  }
  std::ranges::sort(seconds);
  end.chunk_seconds = seconds[seconds.size() / 2];
}

StreamReport run_stream(serving::WanEngine& engine, const StreamArguments& a,
                        const Caption& caption, std::uint64_t seed, Progress& progress,
                        std::int64_t frames_before) {
  const serving::ModelCard& card = engine.card();
  const auto stream = engine.open({.prompt = caption.text,
                                   .seed = seed,
                                   .attention = card.attentions.front(),
                                   .steps = card.default_steps},
                                  std::nullopt);
  const std::int64_t end = std::min(kEnd, a.latent_frames / 2);
  const auto pixel_frames = static_cast<std::size_t>(4 * end);
  StreamReport report;
  std::deque<Frame> first, last;
  std::vector<ChunkCost> costs;
  for (std::int64_t frames = 0; (frames + 3) / 4 < a.latent_frames;) {
    serving::EngineChunk chunk = stream->advance([] { return interrupted(); });
    costs.push_back({chunk.denoise_seconds + chunk.decode_seconds, serving::resident_bytes()});
    report.sparsity = chunk.sparsity;
    frames += static_cast<std::int64_t>(chunk.frames.size());
    for (Frame& frame : chunk.frames) {
      if (first.size() < pixel_frames) first.push_back(frame);
      last.push_back(std::move(frame));
      if (last.size() > pixel_frames) last.pop_front();
    }
    progress.advance(frames_before + (frames + 3) / 4);
  }
  report.first = judge(first, caption, card.height, card.width);
  report.last = judge(last, caption, card.height, card.width);
  const std::span<const ChunkCost> chunks = costs;
  const std::size_t settled = chunks.size() >= kSettled + kTimedChunks ? kSettled : 0;
  const std::size_t timed = std::min(kTimedChunks, chunks.size());
  add_cost(report.first, chunks.subspan(settled, timed));
  add_cost(report.last, chunks.last(timed));
  return report;
}

void add(End& sum, const End& one) {
  sum.tally.add(one.tally);
  sum.movement += one.movement;
  sum.chunk_seconds += one.chunk_seconds;
  sum.memory = std::max(sum.memory, one.memory);
}

Json to_json(const End& end) {
  Json json = evaluation::percentages(end.tally);
  json["movement"] = end.movement;
  json["chunk_seconds"] = end.chunk_seconds;
  json["memory_bytes"] = end.memory;
  return json;
}

void print_end(const char* name, const End& end) {
  const evaluation::ShapesTally& tally = end.tally;
  std::cout << std::left << std::setw(8) << name << std::right << std::fixed << std::setprecision(1)
            << "colour " << std::setw(5) << tally.percent(tally.color) << " %   shape "
            << std::setw(5) << tally.percent(tally.kind) << " %   motion " << std::setw(5)
            << tally.percent(tally.motion) << " %   all three " << std::setw(5)
            << tally.percent(tally.all) << " %   movement " << std::setprecision(2) << end.movement
            << "   chunk " << std::setprecision(3) << end.chunk_seconds << " s   memory "
            << format_bytes(end.memory) << '\n';
}

void print(const StreamArguments& a, const std::string& caption, const StreamReport& report) {
  if (a.json) {
    std::cout << Json{{"caption", caption},
                      {"latent_frames", a.latent_frames},
                      {"sparsity", report.sparsity},
                      {"first", to_json(report.first)},
                      {"last", to_json(report.last)}}
                     .dump()
              << std::endl;
    return;
  }
  std::cout << caption << '\n';
  print_end("  first", report.first);
  print_end("  last", report.last);
  std::cout << std::flush;
}

}  // namespace

void evaluate_streams(const StreamArguments& a, const std::vector<Caption>& captions,
                      const pipelines::GenerationOptions& options) {
  MONARCH_CHECK(a.latent_frames >= 12, "[evaluate] --stream is ", a.latent_frames,
                " latent frames; 12 or more hold a video at either end");
  pipelines::WanSystem system(a.model);
  serving::WanEngine engine(system, options);
  MONARCH_CHECK(engine.card().continuous, "[evaluate] ", a.model,
                " makes whole videos; --stream needs a causal few-step model, as monarch convert "
                "--config makes of a Self-Forcing checkpoint");
  const auto count = static_cast<std::int64_t>(captions.size());
  Progress progress("streams", count * a.latent_frames, a.json);
  StreamReport sum;
  for (std::int64_t i = 0; i < count; ++i) {
    const Caption& caption = captions[static_cast<std::size_t>(i)];
    const StreamReport one = run_stream(engine, a, caption, a.seed + static_cast<std::uint64_t>(i),
                                        progress, i * a.latent_frames);
    if (a.each) print(a, caption.text, one);
    add(sum.first, one.first);
    add(sum.last, one.last);
    sum.sparsity = one.sparsity;
  }
  progress.finish();
  for (End* end : {&sum.first, &sum.last}) {
    end->movement /= static_cast<double>(count);
    end->chunk_seconds /= static_cast<double>(count);
  }
  print(a, str_cat("all ", count, " streams"), sum);
}

}  // namespace monarch::apps
