// `monarch bench`: verifies, then times.
#include <ATen/Parallel.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>

#include "apps/bench/works.h"
#include "apps/command.h"
#include "apps/device.h"
#include "monarch/attention/problem.h"

namespace monarch::apps {
namespace {

struct BenchArguments {
  BenchOptions bench;
  std::string device = "cpu";
  std::optional<std::int64_t> measurement_ms;
  AttentionBench attention;
  std::string dtype;  // of attention; empty: the device's
  bool protocol = false;
  std::string plot;
  VaeBench vae;
  GenerateBench generate;
  std::string training = "both";
  std::string grid = "30x52", latent = "30x52", size, mode = "both", split = "f,hw";
  std::int64_t num_iters = 0;  // 0: the preset's default
};

// "AxB" with the names and the example of the message.
void parse_pair(const std::string& text, const char* flag, const char* names, std::int64_t& first,
                std::int64_t& second) {
  int a = 0;
  int b = 0;
  char rest = 0;
  MONARCH_CHECK(std::sscanf(text.c_str(), "%dx%d%c", &a, &b, &rest) == 2 && a > 0 && b > 0,
                "[bench] ", flag, ' ', text, " is not ", names);
  first = a;
  second = b;
}

void parse_grid(const std::string& text, const char* flag, std::int64_t& rows,
                std::int64_t& columns) {
  parse_pair(text, flag, "ROWSxCOLUMNS; for example 30x52", rows, columns);
}

BenchOptions bench_options(const BenchArguments& a) {
  BenchOptions options = a.bench;
  options.device = device_of(a.device);
  const std::int64_t short_ms = options.device.is_cpu() ? 0 : 20;
  options.measurement_seconds = static_cast<double>(a.measurement_ms.value_or(short_ms)) / 1e3;
  return options;
}

}  // namespace

void add_bench(CLI::App& app) {
  auto a = std::make_shared<BenchArguments>();
  CLI::App* bench =
      app.add_subcommand("bench", "time attention, layers and stages; each is verified first");
  bench->require_subcommand(1);
  auto add = [&](const char* name, const char* summary,
                 const std::function<void(BenchReport&)>& work) {
    CLI::App* command = bench->add_subcommand(name, summary);
    command->add_option("--threads", a->bench.threads, "CPU threads")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    command->add_option("--repeats", a->bench.repeats, "timed runs of each implementation")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_option("--device", a->device, "cpu, cuda, or cuda:N of several")
        ->capture_default_str();
    command
        ->add_option("--measurement-ms", a->measurement_ms,
                     "shorter work is repeated within a measurement (default: 0, on a GPU 20)")
        ->check(CLI::Range(0, 10000));
    command->add_flag("--json", a->bench.json, "one JSON object a line");
    command->callback([a, work] {
      at::set_num_threads(static_cast<int>(a->bench.threads));
      BenchReport report(bench_options(*a), std::cout);
      work(report);
    });
    return command;
  };
  CLI::App* attention = add("attention", "Monarch and dense attention", [a](BenchReport& report) {
    parse_grid(a->grid, "--grid", a->attention.rows, a->attention.columns);
    a->attention.dtype = a->dtype.empty() ? report.dtype() : a->dtype;
    a->attention.vmonarch.split = attention::parse_split(a->split);
    if (a->num_iters > 0) {
      a->attention.monarch.num_iters = a->attention.vmonarch.num_iters = a->num_iters;
    }
    MONARCH_CHECK(a->plot.empty() || a->protocol, "[bench] --plot draws the --protocol");
    if (a->protocol) {
      bench_attention_protocol(report, a->attention, a->plot);
    } else {
      bench_attention(report, a->attention);
    }
  });
  attention->add_flag(
      "--protocol", a->protocol,
      "the MonarchRT authors' figures: 1 to --kv-frames frames, 480p and 720p; minutes");
  attention->add_option("--plot", a->plot, "with --protocol: SVG file of time against frames");
  attention->add_option("--preset", a->attention.preset, "monarchrt, vmonarch or dense")
      ->capture_default_str();
  attention->add_option("--batch", a->attention.batch)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--query-frames", a->attention.query_frames)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--kv-frames", a->attention.kv_frames)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--grid", a->grid, "token rows x columns of a frame")
      ->capture_default_str();
  attention->add_option("--heads", a->attention.heads)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--head-dim", a->attention.head_dim)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--dtype", a->dtype, "f32, bf16 or f16 (default: f32, on a GPU bf16)")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  attention->add_flag("--backward", a->attention.backward, "also time the gradients");
  attention->add_option("--num-iters", a->num_iters, "iterations (default: 1, vmonarch 2)")
      ->check(CLI::PositiveNumber);
  attention->add_option("--split", a->split, "of vmonarch: f,hw  fh,w  w,fh  hw,f  fw,h or h,fw")
      ->capture_default_str();
  attention->add_option("--f-tied", a->attention.monarch.f_tied)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--h-reduce", a->attention.monarch.h_reduce)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--w-reduce", a->attention.monarch.w_reduce)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add("layer", "one transformer layer at 1.3B widths", [](BenchReport& report) {
    bench_norm_rope(report);
    bench_layer(report);
  });
  add("text", "one UMT5-XXL layer", [](BenchReport& report) { bench_text(report); });
  CLI::App* vae = add("vae", "VAE decode and encode", [a](BenchReport& report) {
    parse_grid(a->latent, "--latent", a->vae.latent_height, a->vae.latent_width);
    bench_vae(report, a->vae);
  });
  vae->add_option("--width", a->vae.width, "base width of the network; published: 96")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  vae->add_option("--frames", a->vae.latent_frames, "latent frames")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  vae->add_option("--latent", a->latent, "latent rows x columns")->capture_default_str();
  CLI::App* generate =
      add("generate", "a model folder: the stages of whole videos and of streaming",
          [a](BenchReport& report) {
            if (!a->size.empty())
              parse_pair(a->size, "--size", "WIDTHxHEIGHT; for example 256x160", a->generate.width,
                         a->generate.height);
            a->generate.whole = a->mode != "streaming";
            a->generate.streaming = a->mode != "bidirectional";
            a->generate.model = shipped_path(a->generate.model);
            bench_generate(report, a->generate);
          });
  generate->add_option("--model", a->generate.model, "a folder of Wan or of diffusers")
      ->capture_default_str();
  generate->add_option("--mode", a->mode, "bidirectional (whole videos), streaming or both")
      ->check(CLI::IsMember({"bidirectional", "streaming", "both"}))
      ->capture_default_str();
  generate->add_option("--prompt", a->generate.prompt)->capture_default_str();
  generate->add_option("--size", a->size, "WIDTHxHEIGHT in pixels (default: the folder's)");
  generate->add_option("--frames", a->generate.num_frames, "pixel frames of a whole video")
      ->check(CLI::PositiveNumber);
  generate->add_option("--steps", a->generate.steps, "solver steps of a whole video")
      ->check(CLI::PositiveNumber);
  generate
      ->add_option("--chunk-frames", a->generate.chunk_frames,
                   "streaming: new latent frames, 4 pixel frames each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  generate
      ->add_option("--cached-frames", a->generate.cached_frames,
                   "streaming: latent frames before them")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  add("train", "a training step: the shapes model, two layers at 1.3B widths",
      [a](BenchReport& report) {
        bench_training(report, {.shapes = a->training != "wide", .wide = a->training != "shapes"});
      })
      ->add_option("--size", a->training, "shapes, wide (1.3B widths) or both")
      ->check(CLI::IsMember({"shapes", "wide", "both"}))
      ->capture_default_str();
  bench->footer(
      "Examples:\n"
      "  monarch bench attention --kv-frames 21 --json\n"
      "  monarch bench attention --device cuda --heads 12\n"
      "  monarch bench generate --mode streaming --size 256x160");
}

}  // namespace monarch::apps
