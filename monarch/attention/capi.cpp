#include "monarch/attention/capi.h"

#include <cstring>
#include <new>

#include "monarch/attention/registry.h"

namespace {

using namespace monarch;             // NOLINT: this file is nothing but the translation of names
using namespace monarch::attention;  // NOLINT

thread_local std::string last_error;

// Runs the body; turns what it throws into a status and a text.
template <typename Body>
monarch_status guarded(const Body& body) noexcept {
  try {
    try {
      body();
      return MONARCH_OK;
    } catch (const Error& error) {
      last_error = error.what();
      switch (error.code()) {
        case ErrorCode::kInvalidArgument: return MONARCH_INVALID_ARGUMENT;
        case ErrorCode::kUnsupported: return MONARCH_UNSUPPORTED;
        default: return MONARCH_INTERNAL;
      }
    } catch (const std::bad_alloc&) {
      last_error = "[monarch_attention] out of memory";
      return MONARCH_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
      last_error = error.what();
      return MONARCH_INTERNAL;
    }
  } catch (...) {  // not even the text could be kept
    return MONARCH_OUT_OF_MEMORY;
  }
}

// The caller's arguments, with defaults for fields its version of the struct does not have.
monarch_attention_args complete(const monarch_attention_args* args) {
  MONARCH_CHECK(args != nullptr, "[monarch_attention] the arguments are a null pointer");
  MONARCH_CHECK(args->size >= offsetof(monarch_attention_args, lse) && args->size <= 1 << 16,
                "[monarch_attention] args.size is ", args->size,
                "; set the struct up with monarch_attention_args_init");
  monarch_attention_args result;
  monarch_attention_args_init(&result);
  std::memcpy(static_cast<void*>(&result), args, std::min(args->size, sizeof(result)));
  return result;
}

DType dtype_of(monarch_dtype dtype, std::string_view name) {
  switch (dtype) {
    case MONARCH_DTYPE_F32: return DType::kF32;
    case MONARCH_DTYPE_BF16: return DType::kBF16;
    case MONARCH_DTYPE_F16: return DType::kF16;
    case MONARCH_DTYPE_F64: return DType::kF64;
  }
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] ", name, ".dtype is ",
       static_cast<int>(dtype), "; use one of MONARCH_DTYPE_*");
}

TensorView view(const monarch_tensor& tensor, std::string_view name) {
  return {tensor.data,
          dtype_of(tensor.dtype, name),
          {tensor.shape, tensor.shape + 4},
          {tensor.strides, tensor.strides + 4}};
}

Problem problem_of(const monarch_attention_args& args) {
  std::optional<double> scale;
  if (args.softmax_scale != 0) scale = args.softmax_scale;
  switch (args.preset) {
    case MONARCH_PRESET_DENSE: {
      // The product of sizes is checked by the Monarch form of the same problem.
      MonarchProblem sizes{.batch = args.batch,
                           .num_heads = args.num_heads,
                           .head_dim = args.head_dim,
                           .q_frames = args.q_frames,
                           .kv_frames = args.kv_frames,
                           .height = args.height,
                           .width = args.width};
      validate(sizes);
      return DenseProblem{.batch = args.batch,
                          .num_heads = args.num_heads,
                          .head_dim = args.head_dim,
                          .q_tokens = sizes.q_tokens(),
                          .kv_tokens = sizes.kv_tokens(),
                          .softmax_scale = scale,
                          .block_causal_size = args.block_causal_size};
    }
    case MONARCH_PRESET_MONARCHRT:
      return MonarchProblem{.batch = args.batch,
                            .num_heads = args.num_heads,
                            .head_dim = args.head_dim,
                            .q_frames = args.q_frames,
                            .kv_frames = args.kv_frames,
                            .height = args.height,
                            .width = args.width,
                            .f_tied = args.f_tied,
                            .h_reduce = args.h_reduce,
                            .w_reduce = args.w_reduce,
                            .num_iters = args.num_iters == 0 ? 1 : args.num_iters,
                            .softmax_scale = scale,
                            .block_causal_size = args.block_causal_size,
                            .kv_block_order = args.kv_block_order != 0};
    case MONARCH_PRESET_VMONARCH:
      MONARCH_CHECK(args.q_frames == args.kv_frames,
                    "[monarch_attention] vmonarch takes as many query frames as key frames; got ",
                    args.q_frames, " and ", args.kv_frames);
      MONARCH_CHECK(args.block_causal_size == 0,
                    "[monarch_attention] vmonarch has no causal form; set block_causal_size to 0");
      MONARCH_CHECK(args.kv_block_order == 0,
                    "[monarch_attention] vmonarch cannot read a KV cache in block order: its one "
                    "factorisation "
                    "covers the whole video; use monarchrt or dense");
      return VMonarchProblem{
          .batch = args.batch,
          .num_heads = args.num_heads,
          .head_dim = args.head_dim,
          .frames = args.q_frames,
          .height = args.height,
          .width = args.width,
          .num_iters = args.num_iters == 0 ? 2 : args.num_iters,
          .softmax_scale = scale,
          .c_r_min = args.c_r_min,
          .recompute_first_frame = args.recompute_first_frame != 0,
          .frames_per_factor = args.frames_per_factor,
          .split = args.split == nullptr ? Split::kFramesXPixels : parse_split(args.split)};
  }
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] preset is ", static_cast<int>(args.preset),
       "; use one of MONARCH_PRESET_*");
}

Device device_of(const monarch_attention_args& args) {
  switch (args.device) {
    case MONARCH_DEVICE_CPU: return Device::kCpu;
    case MONARCH_DEVICE_CUDA: return Device::kCuda;
  }
  fail(ErrorCode::kInvalidArgument, "[monarch_attention] device is ", static_cast<int>(args.device),
       "; use one of MONARCH_DEVICE_*");
}

const Implementation& pick(const monarch_attention_args& args, const Problem& problem,
                           Direction direction) {
  const DType dtype = dtype_of(args.q.dtype, "q");
  const Device device = device_of(args);
  if (args.implementation == nullptr) return choose(problem, dtype, direction, device);
  const Implementation& wanted = implementation(args.implementation);
  MONARCH_CHECK(wanted.device() == device, "[monarch_attention] ", wanted.name(), " works on ",
                wanted.device() == Device::kCuda ? "a GPU" : "the CPU",
                ", and args.device says otherwise; set it to where the tensors lie");
  const std::string refusal = wanted.refusal(problem, dtype, direction);
  MONARCH_CHECK_CODE(refusal.empty(), kUnsupported, "[monarch_attention] ", refusal);
  return wanted;
}

std::span<std::byte> workspace(const monarch_attention_args& args) {
  return {static_cast<std::byte*>(args.workspace),
          args.workspace == nullptr ? 0 : args.workspace_bytes};
}

}  // namespace

extern "C" {

void monarch_attention_args_init(monarch_attention_args* args) {
  if (args == nullptr) return;
  *args = monarch_attention_args{};
  args->size = sizeof(*args);
  args->preset = MONARCH_PRESET_MONARCHRT;
  for (int64_t* one :
       {&args->batch, &args->num_heads, &args->q_frames, &args->kv_frames, &args->height,
        &args->width, &args->f_tied, &args->h_reduce, &args->w_reduce, &args->frames_per_factor}) {
    *one = 1;
  }
  args->recompute_first_frame = 1;
  args->c_r_min = 0.1;
  args->num_threads = 1;
}

monarch_tensor monarch_tensor_contiguous(void* data, monarch_dtype dtype, int64_t batch,
                                         int64_t tokens, int64_t num_heads, int64_t head_dim) {
  return {data,
          dtype,
          {batch, tokens, num_heads, head_dim},
          {tokens * num_heads * head_dim, num_heads * head_dim, head_dim, 1}};
}

monarch_status monarch_attention_workspace_bytes(const monarch_attention_args* args,
                                                 size_t* bytes) {
  return guarded([&] {
    const monarch_attention_args own = complete(args);
    MONARCH_CHECK(bytes != nullptr, "[monarch_attention] bytes is a null pointer");
    const Problem problem = problem_of(own);
    *bytes = pick(own, problem, Direction::kForward).forward_workspace(problem, own.num_threads);
  });
}

monarch_status monarch_attention_backward_workspace_bytes(const monarch_attention_args* args,
                                                          size_t* bytes) {
  return guarded([&] {
    const monarch_attention_args own = complete(args);
    MONARCH_CHECK(bytes != nullptr, "[monarch_attention] bytes is a null pointer");
    const Problem problem = problem_of(own);
    *bytes = pick(own, problem, Direction::kBackward).backward_workspace(problem, own.num_threads);
  });
}

monarch_status monarch_attention_forward(const monarch_attention_args* args) {
  return guarded([&] {
    const monarch_attention_args own = complete(args);
    const Problem problem = problem_of(own);
    const ForwardTensors tensors{read_only(view(own.q, "q")),
                                 read_only(view(own.k, "k")),
                                 read_only(view(own.v, "v")),
                                 view(own.out, "out"),
                                 own.lse,
                                 own.stream};
    pick(own, problem, Direction::kForward)
        .forward(problem, tensors, own.num_threads, workspace(own));
  });
}

monarch_status monarch_attention_backward(const monarch_attention_args* args) {
  return guarded([&] {
    const monarch_attention_args own = complete(args);
    const Problem problem = problem_of(own);
    const BackwardTensors tensors{read_only(view(own.q, "q")),
                                  read_only(view(own.k, "k")),
                                  read_only(view(own.v, "v")),
                                  read_only(view(own.out, "out")),
                                  read_only(view(own.grad_out, "grad_out")),
                                  view(own.grad_q, "grad_q"),
                                  view(own.grad_k, "grad_k"),
                                  view(own.grad_v, "grad_v"),
                                  own.lse,
                                  own.stream};
    pick(own, problem, Direction::kBackward)
        .backward(problem, tensors, own.num_threads, workspace(own));
  });
}

monarch_status monarch_attention_write_cache(const monarch_attention_args* args,
                                             const monarch_tensor* new_tokens, int64_t start,
                                             const monarch_tensor* cache) {
  return guarded([&] {
    const monarch_attention_args own = complete(args);
    MONARCH_CHECK(new_tokens != nullptr && cache != nullptr,
                  "[monarch_attention] new_tokens or cache is a null pointer");
    MONARCH_CHECK_CODE(
        device_of(own) == Device::kCpu, kUnsupported,
        "[monarch_attention] the cache write works on host memory; leave args.device "
        "at MONARCH_DEVICE_CPU for it");
    const Problem problem = problem_of(own);
    std::visit([](const auto& p) { validate(p); }, problem);
    const auto* monarch = std::get_if<MonarchProblem>(&problem);
    copy_to_block_order(monarch == nullptr ? BlockLayout{} : monarch->layout(),
                        read_only(view(*new_tokens, "new_tokens")), start, view(*cache, "cache"));
  });
}

const char* monarch_attention_implementation(const monarch_attention_args* args) {
  const char* name = nullptr;
  guarded([&] {
    const monarch_attention_args own = complete(args);
    name = pick(own, problem_of(own), Direction::kForward)
               .name()
               .data();  // of an object that lives forever
  });
  return name;
}

const char* monarch_last_error(void) { return last_error.c_str(); }

}  // extern "C"
