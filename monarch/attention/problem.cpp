#include "monarch/attention/problem.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "monarch/base/divisors.h"

namespace monarch::attention {
namespace {

constexpr std::string_view kRoom = "[monarch_attention] ";
// Bounds every product of sizes below 2^63, so index arithmetic never overflows.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 40;

void check_positive(std::initializer_list<std::pair<std::string_view, std::int64_t>> sizes) {
  std::int64_t product = 1;
  for (const auto& [name, size] : sizes) {
    MONARCH_CHECK(size >= 1, kRoom, name, " is ", size, "; it must be at least 1");
    MONARCH_CHECK(!__builtin_mul_overflow(product, size, &product) && product <= kMaxSize, kRoom,
                  "the sizes up to ", name, " ", size, " multiply to more than 2^40 elements");
  }
}

void check_scale(const std::optional<double>& scale) {
  MONARCH_CHECK(!scale || (std::isfinite(*scale) && *scale > 0), kRoom, "softmax_scale is ", *scale,
                "; it must be a positive number (leave it out for head_dim^-0.5)");
}

void check_write(const CacheWrite& write, std::int64_t cache_tokens) {
  MONARCH_CHECK(write.start >= 0 && write.end > write.start && write.end <= cache_tokens, kRoom,
                "the cache write covers positions ", write.start, "..", write.end,
                "; it must be a non-empty range within the cache's ", cache_tokens, " tokens");
}

}  // namespace

void validate(const DenseProblem& problem) {
  check_positive({{"batch", problem.batch},
                  {"num_heads", problem.num_heads},
                  {"head_dim", problem.head_dim},
                  {"q_tokens", problem.q_tokens}});
  check_positive({{"batch", problem.batch},
                  {"num_heads", problem.num_heads},
                  {"head_dim", problem.head_dim},
                  {"kv_tokens", problem.kv_tokens}});
  check_scale(problem.softmax_scale);
  if (problem.block_causal_size == 0) return;
  MONARCH_CHECK(problem.block_causal_size > 0, kRoom, "block_causal_size is ",
                problem.block_causal_size, "; it is a number of tokens, 0 for no mask");
  MONARCH_CHECK(problem.q_tokens == problem.kv_tokens, kRoom,
                "a block-causal mask needs as many queries as keys; got ", problem.q_tokens,
                " and ", problem.kv_tokens);
  check_divides(kRoom, "the token count", problem.kv_tokens, "block_causal_size",
                problem.block_causal_size, problem.kv_tokens);
}

void validate(const MonarchProblem& problem) {
  check_positive({{"f_tied", problem.f_tied}});
  check_positive({{"h_reduce", problem.h_reduce}});
  check_positive({{"w_reduce", problem.w_reduce}});
  check_positive({{"num_iters", problem.num_iters}});
  for (const std::int64_t frames : {problem.q_frames, problem.kv_frames}) {
    check_positive({{"batch", problem.batch},
                    {"num_heads", problem.num_heads},
                    {"head_dim", problem.head_dim},
                    {"height", problem.height},
                    {"width", problem.width},
                    {"frames", frames}});
  }
  const std::int64_t common_frames = std::gcd(problem.q_frames, problem.kv_frames);
  check_divides(kRoom, "q_frames", problem.q_frames, "f_tied", problem.f_tied, common_frames);
  check_divides(kRoom, "kv_frames", problem.kv_frames, "f_tied", problem.f_tied, common_frames);
  check_divides(kRoom, "height", problem.height, "h_reduce", problem.h_reduce, problem.height);
  check_divides(kRoom, "width", problem.width, "w_reduce", problem.w_reduce, problem.width);
  check_scale(problem.softmax_scale);
  if (problem.block_causal_size == 0) return;
  MONARCH_CHECK(problem.block_causal_size > 0, kRoom, "block_causal_size is ",
                problem.block_causal_size, "; it is a number of tokens, 0 for no mask");
  MONARCH_CHECK(problem.q_frames == problem.kv_frames, kRoom,
                "a block-causal mask needs as many query frames as key frames; got ",
                problem.q_frames, " and ", problem.kv_frames);
  MONARCH_CHECK(problem.num_iters == 1, kRoom,
                "block-causal attention is defined for num_iters 1; got ", problem.num_iters);
  const std::int64_t block_tokens = problem.layout().block_tokens();
  MONARCH_CHECK(problem.block_causal_size % block_tokens == 0, kRoom, "block_causal_size ",
                problem.block_causal_size, " is not a multiple of the block's ", block_tokens,
                " tokens (", problem.layout().block_rows(), " x ", problem.layout().block_cols(),
                "); use ", block_tokens, " times the number of blocks in a causal block");
  check_divides(kRoom, "the token count", problem.kv_tokens(), "block_causal_size",
                problem.block_causal_size, problem.kv_tokens());
}

void validate(const VMonarchProblem& problem) {
  check_positive({{"batch", problem.batch},
                  {"num_heads", problem.num_heads},
                  {"head_dim", problem.head_dim},
                  {"height", problem.height},
                  {"width", problem.width},
                  {"frames", problem.frames}});
  check_positive({{"num_iters", problem.num_iters}});
  check_positive({{"frames_per_factor", problem.frames_per_factor}});
  check_divides(kRoom, "frames", problem.frames, "frames_per_factor", problem.frames_per_factor,
                problem.frames);
  MONARCH_CHECK(problem.frames_per_factor == 1 || problem.split == Split::kFramesXPixels, kRoom,
                "frames_per_factor ", problem.frames_per_factor,
                " needs the split f,hw; other splits take 1");
  MONARCH_CHECK(std::isfinite(problem.c_r_min) && problem.c_r_min > 0, kRoom, "c_r_min is ",
                problem.c_r_min, "; it must be a positive number (0.1 is the published value)");
  check_scale(problem.softmax_scale);
}

void validate(const DenseProblem& problem, const CacheWrite& write) {
  validate(problem);
  check_write(write, problem.kv_tokens);
}

void validate(const MonarchProblem& problem, const CacheWrite& write) {
  validate(problem);
  check_write(write, problem.kv_tokens());
  MONARCH_CHECK(problem.kv_block_order, kRoom,
                "a Monarch KV cache lies in block order; set kv_block_order");
  const std::int64_t group = problem.f_tied * problem.layout().frame_tokens();
  MONARCH_CHECK(write.start % group == 0 && write.end % group == 0, kRoom,
                "the cache write covers positions ", write.start, "..", write.end,
                "; both must be multiples of f_tied * height * width = ", group);
}

Split parse_split(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, Split>, 6> kSplits{
      {{"fh,w", Split::kFrameRowsXCols},
       {"w,fh", Split::kColsXFrameRows},
       {"f,hw", Split::kFramesXPixels},
       {"hw,f", Split::kPixelsXFrames},
       {"fw,h", Split::kFrameColsXRows},
       {"h,fw", Split::kRowsXFrameCols}}};
  std::string plain(name);
  std::erase_if(plain, [](char letter) { return letter == '(' || letter == ')' || letter == ' '; });
  for (const auto& [known, split] : kSplits) {
    if (known == plain) return split;
  }
  fail(ErrorCode::kInvalidArgument, kRoom, "'", name,
       "' is not an aligned split of frames f, rows h and columns w; use fh,w  w,fh  f,hw  hw,f  "
       "fw,h or h,fw "
       "(a split that cuts through one of the coordinates approximates video attention several "
       "times worse)");
}

void check_tensor(const ConstTensorView& tensor, std::string_view name, std::int64_t batch,
                  std::int64_t tokens, std::int64_t num_heads, std::int64_t head_dim) {
  const std::array<std::int64_t, 4> expected{batch, tokens, num_heads, head_dim};
  MONARCH_CHECK(std::ranges::equal(tensor.shape, expected), kRoom, name, " has shape ",
                shape_string(tensor.shape),
                "; expected [batch, tokens, heads, head_dim] = ", shape_string(expected));
  MONARCH_CHECK(tensor.strides.size() == 4, kRoom, name, " has ", tensor.strides.size(),
                " strides; expected 4");
  MONARCH_CHECK(tensor.strides[3] == 1 || head_dim == 1, kRoom, name, " has stride ",
                tensor.strides[3], " along head_dim; expected 1: make head_dim contiguous");
  MONARCH_CHECK(tensor.dtype == DType::kF64 || tensor.dtype == DType::kF32 ||
                    tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16,
                kRoom, name, " has dtype ", dtype_name(tensor.dtype),
                "; expected F64, F32, F16 or BF16");
  MONARCH_CHECK(tensor.data != nullptr, kRoom, name, " has no data");
}

}  // namespace monarch::attention
