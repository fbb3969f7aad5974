#include "monarch/models/wan/sequence.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "monarch/base/divisors.h"
#include "monarch/base/error.h"
#include "monarch/parallel/communicator.h"

namespace monarch::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Sizes = std::vector<int64_t>;
using Map = std::function<at::Tensor(const at::Tensor&)>;

constexpr int64_t kRows = 3;  // axis of a latent

// pieces[r] goes to rank r; what the ranks have for this one, of the given shapes.
std::vector<at::Tensor> exchange(parallel::Communicator& ranks,
                                 const std::vector<at::Tensor>& pieces,
                                 const std::vector<Sizes>& shapes) {
  Sizes sent, received;
  for (const at::Tensor& piece : pieces) sent.push_back(piece.numel());
  for (const Sizes& shape : shapes) received.push_back(c10::multiply_integers(shape));
  const at::Tensor all = at::empty({c10::sum_integers(sent)}, pieces.front().options());
  std::vector<at::Tensor> parts = all.split_with_sizes(sent);
  for (size_t r = 0; r < parts.size(); ++r) parts[r].view(pieces[r].sizes()).copy_(pieces[r]);
  parts = ranks.all_to_all(all, sent, received).split_with_sizes(received);
  for (size_t r = 0; r < parts.size(); ++r) parts[r] = parts[r].view(shapes[r]);
  return parts;
}

// A linear map and its transpose.
struct LinearMap : torch::CustomClassHolder {
  LinearMap(Map f, Map b) : forward(std::move(f)), backward(std::move(b)) {}
  Map forward, backward;
};

struct Mapped : torch::autograd::Function<Mapped> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<LinearMap>& map) {
    context->saved_data["map"] = c10::IValue::make_capsule(map);
    return map->forward(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["map"].toCapsule();
    return {static_cast<LinearMap&>(*capsule).backward(gradients[0]), {}};
  }
};

at::Tensor mapped(const at::Tensor& x, Map forward, Map backward) {
  return Mapped::apply(x, c10::make_intrusive<LinearMap>(std::move(forward), std::move(backward)));
}

}  // namespace

HeadRange own_heads(const WanConfig& config) {
  if (!config.sequence) return {.first = 0, .count = config.num_heads};
  check_divides("[monarch_models] ", "num_heads", config.num_heads, "sequence_parallel_size",
                config.sequence->size());
  const int64_t count = config.num_heads / config.sequence->size();
  return {.first = config.sequence->rank() * count, .count = count};
}

std::vector<HeadGroup> own_head_groups(const WanConfig& config, int64_t layer,
                                       const AttentionPosition& position) {
  const HeadRange own = own_heads(config);
  std::vector<HeadGroup> groups;
  for (const HeadGroup& group : head_groups(config, layer, position)) {
    const int64_t begin = std::max(group.first, own.first);
    const int64_t end = std::min(group.first + group.count, own.first + own.count);
    if (begin >= end) continue;
    groups.push_back(
        {.first = begin - own.first, .count = end - begin, .attention = group.attention});
  }
  return groups;
}

struct Strips::Layout {
  std::shared_ptr<parallel::Communicator> ranks;
  ops::Grid video;
  std::vector<int64_t> rows;  // of each rank's strip
  int64_t first_row = 0;      // of the own strip
  int64_t row_latents = 1;    // rows of latents in a row of tokens
  HeadRange heads;

  size_t rank() const { return static_cast<size_t>(ranks->rank()); }

  at::Tensor cut(const at::Tensor& x) const {
    return x.narrow(kRows, first_row * row_latents, rows[rank()] * row_latents).clone();
  }

  at::Tensor join(const at::Tensor& strip) const {
    std::vector<Sizes> shapes(rows.size(), strip.sizes().vec());
    for (size_t r = 0; r < rows.size(); ++r) shapes[r][kRows] = rows[r] * row_latents;
    return at::cat(exchange(*ranks, std::vector<at::Tensor>(rows.size(), strip), shapes), kRows);
  }

  // x [A, F, own rows, W, heads, D] -> [A, F, rows, W, own heads, D]
  at::Tensor to_own_heads(const at::Tensor& x) const {
    std::vector<at::Tensor> pieces;
    std::vector<Sizes> shapes(rows.size(), x.sizes().vec());
    for (size_t r = 0; r < rows.size(); ++r) {
      pieces.push_back(x.narrow(4, static_cast<int64_t>(r) * heads.count, heads.count));
      shapes[r][2] = rows[r];
      shapes[r][4] = heads.count;
    }
    return at::cat(exchange(*ranks, pieces, shapes), 2);
  }

  // The reverse, and the transpose.
  at::Tensor to_own_rows(const at::Tensor& x) const {
    std::vector<at::Tensor> pieces;
    std::vector<Sizes> shapes(rows.size(), x.sizes().vec());
    int64_t first = 0;
    for (size_t r = 0; r < rows.size(); ++r) {
      pieces.push_back(x.narrow(2, first, rows[r]));
      first += rows[r];
      shapes[r][2] = rows[rank()];
    }
    return at::cat(exchange(*ranks, pieces, shapes), 4);
  }
};

Strips::Strips(const WanConfig& config, const ops::Grid& video) : grid_(video) {
  const int64_t size = config.sequence ? config.sequence->size() : 1;
  if (size == 1) return;
  MONARCH_CHECK(video.height >= size, "[monarch_models] a video of ", video.height,
                " rows of tokens does not split over ", size,
                " processes; set sequence_parallel_size to at most ", video.height,
                ", or make a higher video");
  auto layout = std::make_shared<Layout>();
  layout->ranks = config.sequence;
  layout->video = video;
  layout->row_latents = config.patch_size[1];
  layout->heads = own_heads(config);
  for (int64_t r = 0; r < size; ++r)
    layout->rows.push_back((r + 1) * video.height / size - r * video.height / size);
  layout->first_row = config.sequence->rank() * video.height / size;
  grid_.height = layout->rows[layout->rank()];
  layout_ = std::move(layout);
}

at::Tensor Strips::cut(const at::Tensor& x) const {
  if (!layout_) return x;
  return mapped(
      x, [layout = layout_](const at::Tensor& t) { return layout->cut(t); },
      [layout = layout_](const at::Tensor& t) { return layout->join(t); });
}

at::Tensor Strips::join(const at::Tensor& strip) const {
  if (!layout_) return strip;
  return mapped(
      strip, [layout = layout_](const at::Tensor& t) { return layout->join(t); },
      [layout = layout_](const at::Tensor& t) { return layout->cut(t); });
}

at::Tensor Strips::cut_rope(const at::Tensor& rope) const {
  if (!layout_) return rope;
  const ops::Grid& video = layout_->video;
  return rope.view({video.frames, video.height, video.width, -1})
      .narrow(1, layout_->first_row, grid_.height)
      .flatten(0, 2);
}

at::Tensor Strips::attend(const ops::Projections& own, const AttentionPattern& pattern) const {
  if (!layout_) return pattern(own);
  const Map to_own_heads = [layout = layout_](const at::Tensor& t) {
    return layout->to_own_heads(t);
  };
  const Map to_own_rows = [layout = layout_](const at::Tensor& t) {
    return layout->to_own_rows(t);
  };
  const int64_t batch = own.q.size(0), head_dim = own.q.size(3);
  const ops::Grid& video = layout_->video;
  // One message for all three, which are normalised and rotated while a token's heads are together.
  const at::Tensor strips =  // [3B, F, own rows, W, heads, D]
      at::stack({own.rotated_q(), own.rotated_k(), own.v})
          .view({3 * batch, grid_.frames, grid_.height, grid_.width, -1, head_dim});
  const std::vector<at::Tensor> whole =  // of [B, N, own heads, D]
      mapped(strips, to_own_heads, to_own_rows)
          .view({3, batch, video.tokens(), layout_->heads.count, head_dim})
          .unbind(0);
  const at::Tensor out = pattern({.q = whole[0],
                                  .k = whole[1],
                                  .v = whole[2],
                                  .norm_q = {},
                                  .norm_k = {},
                                  .rope = {},
                                  .eps = own.eps})
                             .reshape({batch, video.frames, video.height, video.width,
                                       layout_->heads.count, head_dim});
  return mapped(out, to_own_rows, to_own_heads).view({batch, grid_.tokens(), -1, head_dim});
}

}  // namespace monarch::models
