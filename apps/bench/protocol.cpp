// The protocol of the MonarchRT authors' kernel figures (arXiv 2602.12271): time against the number
// of frames looked back on, for a stream's chunk and for whole videos.
#include <ATen/ATen.h>

#include <algorithm>

#include "apps/bench/flops.h"
#include "apps/bench/works.h"
#include "apps/device.h"
#include "monarch/base/error.h"
#include "monarch/evaluation/compare_plot.h"
#include "monarch/io/atomic_file.h"
#include "monarch/ops/attention.h"

namespace monarch::apps {
namespace {

struct Setting {
  std::int64_t f_tied, h_reduce, w_reduce;

  std::string name() const { return str_cat('(', f_tied, ',', h_reduce, ',', w_reduce, ')'); }
  ops::MonarchOptions options() const {
    return {.enable = true, .f_tied = f_tied, .h_reduce = h_reduce, .w_reduce = w_reduce};
  }
};

struct Panel {
  std::string name, title;
  std::int64_t rows, columns;
  std::int64_t query_frames;  // 0: as many as keys
  std::vector<Setting> settings;
};

const std::vector<Panel>& panels() {
  static const std::vector<Panel> all = {
      {"streaming",
       "Streaming: 3 query frames, 480p (30x52)",
       30,
       52,
       3,
       {{1, 1, 1}, {1, 2, 1}, {1, 2, 4}}},
      {"bidirectional", "Whole video, 480p (30x52)", 30, 52, 0, {{3, 1, 1}, {1, 2, 1}, {1, 6, 2}}},
      {"streaming-720p",
       "Streaming: 3 query frames, 720p (45x80)",
       45,
       80,
       3,
       {{1, 1, 1}, {3, 1, 1}}}};
  return all;
}

class Protocol {
 public:
  Protocol(BenchReport& report, const AttentionBench& options)
      : report_(report),
        o_(options),
        operands_(
            at::device(report.device()).dtype(scalar_type_of(options.dtype, report.device()))) {}

  evaluation::PlotFigure run(const Panel& panel) {
    std::vector<evaluation::PlotSeries> series{{.name = "dense", .line = true}};
    for (const Setting& setting : panel.settings)
      series.push_back({.name = setting.name(), .line = true});
    for (std::int64_t frames = 1; frames <= o_.kv_frames; ++frames) {
      for (const Measurement& m : measure(panel, frames)) {
        const auto mine = std::find_if(series.begin(), series.end(), [&](const auto& one) {
          return m.implementation.ends_with(one.name);
        });
        mine->points.push_back({static_cast<double>(frames), 1e3 * m.seconds_median, o_.dtype});
      }
    }
    return {{.title = panel.title,
             .x = "frames of keys and values",
             .y = "milliseconds",
             .log_y = true},
            series};
  }

 private:
  std::vector<Measurement> measure(const Panel& panel, std::int64_t frames) {
    const ops::Grid q_grid{panel.query_frames > 0 ? panel.query_frames : frames, panel.rows,
                           panel.columns};
    const ops::Grid kv_grid{frames, panel.rows, panel.columns};
    at::manual_seed(static_cast<std::uint64_t>(frames));
    const auto draw = [&](const ops::Grid& grid) {
      return at::randn({o_.batch, grid.tokens(), o_.heads, o_.head_dim}).to(operands_);
    };
    const at::Tensor q = draw(q_grid), k = draw(kv_grid), v = draw(kv_grid);
    const auto heads = static_cast<double>(o_.batch * o_.heads);
    const auto dim = static_cast<double>(o_.head_dim);
    std::vector<Contender> contenders{{"torch-dense", [=] {
                                         const at::NoGradGuard no_grad;
                                         const ops::ComposedAttentionGuard guard;
                                         ops::dense_attention(q, k, v);
                                       }}};
    std::vector<double> gflops{dense_attention_flop(static_cast<double>(q_grid.tokens()),
                                                    static_cast<double>(kv_grid.tokens()), heads,
                                                    dim) /
                               1e9};
    for (const Setting& setting : panel.settings) {
      if (frames % setting.f_tied != 0) continue;
      const ops::MonarchOptions options = setting.options();
      const auto attend = [=](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
        const at::NoGradGuard no_grad;
        return ops::monarch_attention(a, b, c, options, q_grid, kv_grid);
      };
      Contender contender{"monarch " + setting.name(), [=] { attend(q, k, v); }};
      contender.tolerance = o_.dtype == "f32" ? 2e-5 : 2e-2;
      if (frames <= 3) {  // the same kernel goes on
        contender.error = [=] {
          return relative_error(attend(q, k, v),
                                attend(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble)));
        };
      }
      contenders.push_back(std::move(contender));
      gflops.push_back(monarch_attention_flop(q_grid, kv_grid, options, heads, dim) / 1e9);
    }
    return report_.run(
        {.name = panel.name,
         .shape = str_cat(q_grid.frames, " on ", frames, " frames of ", panel.rows, 'x',
                          panel.columns, ", ", o_.batch, " x ", o_.heads, " heads x ", o_.head_dim),
         .dtype = o_.dtype},
        contenders, gflops);
  }

  BenchReport& report_;
  const AttentionBench& o_;
  at::TensorOptions operands_;
};

}  // namespace

void bench_attention_protocol(BenchReport& report, const AttentionBench& options,
                              const std::filesystem::path& plot) {
  Protocol protocol(report, options);
  std::vector<evaluation::PlotFigure> figures;
  for (const Panel& panel : panels()) figures.push_back(protocol.run(panel));
  if (plot.empty()) return;
  io::write_file(plot, evaluation::figures_svg(figures));
  report.note("drawn in " + plot.string(), {{"plot", plot.string()}});
}

}  // namespace monarch::apps
