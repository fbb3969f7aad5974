#include "tests/attention/cuda/emulate.h"

#include "monarch/attention/cuda/sm80/dispatch.h"
#include "monarch/attention/cuda/sm80/flash_rows.cuh"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/gradient_pair.cuh"
#include "monarch/attention/cuda/sm80/merge_splits.cuh"
#include "monarch/attention/cuda/sm80/modulate.cuh"
#include "monarch/attention/cuda/sm80/modulate_gradient.cuh"
#include "monarch/attention/cuda/sm80/monarch_backward.cuh"
#include "monarch/attention/cuda/sm80/monarch_forward.cuh"
#include "monarch/attention/cuda/sm80/norm_rope.cuh"
#include "monarch/attention/cuda/sm80/norm_rope_gradient.cuh"
#include "monarch/attention/cuda/sm80/step_columns.cuh"
#include "monarch/attention/cuda/sm80/step_gradient_passes.cuh"
#include "monarch/attention/cuda/sm90/monarch_forward.cuh"

namespace monarch::attention::test {

using cuda::sm80::kThreads;
using cuda::sm80::kWarps;

namespace {

template <typename T>
void emulate_merge(const cuda::MonarchForwardArgs& args, bool backwards) {
  if (args.num_splits == 1) return;
  const std::int64_t rows = std::int64_t{args.batch} * args.num_heads * args.q_tokens;
  launch({(rows + kWarps - 1) / kWarps, kThreads, 0, backwards},
         [&] { cuda::sm80::merge_splits<T>(args); });
}

}  // namespace

void emulate(const cuda::MonarchForwardArgs& args, DType dtype, bool backwards) {
  cuda::sm80::dispatch_monarch_forward(
      args, dtype, [&]<typename T, int kHeadDim, int kRowFragments>() {
        launch({args.num_blocks, kThreads, args.shared.bytes, backwards},
               [&] { cuda::sm80::MonarchForwardBlock<T, kHeadDim, kRowFragments>(args).run(); });
        emulate_merge<T>(args, backwards);
      });
}

void emulate(const cuda::MonarchSm90Args& args, DType dtype, bool backwards) {
  const cuda::MonarchForwardArgs& g = args.forward;
  cuda::sm80::dispatch_monarch_forward(
      g, dtype, [&]<typename T, int kHeadDim, int kRowFragments>() {
        launch({g.num_blocks, cuda::sm90::kThreads, g.shared.bytes, backwards, args.cluster},
               [&] { cuda::sm90::monarch_forward<T, kHeadDim, kRowFragments>(args); });
        emulate_merge<T>(g, backwards);
      });
}

cuda::TensorMap emulated_tensor_map(const cuda::TensorTiles& tiles) {
  return cuda::device::encode(tiles);
}

void emulate(const cuda::MonarchBackwardArgs& args, DType dtype, bool backwards) {
  const cuda::MonarchForwardArgs& forward = args.forward;
  const std::int64_t tiles = std::int64_t{args.units} * forward.column_tiles * forward.num_groups;
  cuda::sm80::dispatch_head_dim(forward.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    launch({tiles, kThreads, forward.shared.bytes, backwards},
           [&] { cuda::sm80::MonarchBackwardBlock<T, kHeadDim>(args).run(); });
    launch({std::int64_t{args.units} * args.kv_rows * args.col_parts, kThreads, args.shared.bytes,
            backwards},
           [&] { cuda::sm80::MonarchKeyGradients<T, kHeadDim>(args).run(); });
    launch({tiles * forward.block_rows, kThreads, args.shared.bytes, backwards},
           [&] { cuda::sm80::MonarchQueryGradients<T, kHeadDim>(args).run(); });
  });
}

namespace {

// Calls passes(flash, columns) with what emulates the kernels.
template <typename T, int kHeadDim, typename Passes>
void emulate_step_passes(bool backwards, const Passes& passes) {
  using namespace cuda::sm80;  // NOLINT: kinds and passes are many
  passes(
      [&]<FlashKind kKind>(const cuda::StepArgs& args) {
        launch({flash_blocks(args, kKind), kThreads,
                static_cast<std::size_t>(flash_shared_bytes(kHeadDim, kKind)), backwards},
               [&] { FlashRows<T, kHeadDim, kKind>(args).run(); });
      },
      [&]<ColumnPass kPass>(const cuda::StepArgs& args) {
        launch({column_blocks(args, kPass), kThreads, 0, backwards},
               [&] { StepColumns<T, kHeadDim, kPass>(args).run(); });
      });
}

}  // namespace

void emulate(const cuda::StepArgs& args, DType dtype, bool backwards) {
  cuda::sm80::dispatch_head_dim(args.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    emulate_step_passes<T, kHeadDim>(backwards, [&](const auto& flash, const auto& columns) {
      cuda::sm80::forward_passes(args, flash, columns);
    });
  });
}

void emulate(const cuda::StepGradientArgs& args, DType dtype, bool backwards) {
  cuda::sm80::dispatch_head_dim(args.step.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    cuda::sm80::gradient_passes<T, kHeadDim>(
        args,
        [&](const cuda::StepArgs& step, bool last) {
          emulate_step_passes<T, kHeadDim>(backwards, [&](const auto& flash, const auto& columns) {
            cuda::sm80::step_passes(step, last, flash, columns);
          });
        },
        [&]<typename Kernel>(std::string_view /*name*/, const cuda::StepGradientArgs& pass,
                             std::int64_t blocks, int shared_bytes) {
          launch({blocks, kThreads, static_cast<std::size_t>(shared_bytes), backwards},
                 [&] { Kernel(pass).run(); });
        });
  });
}

void emulate(const cuda::NormRopeArgs& args, DType dtype) {
  using cuda::sm80::NormRope;
  launch({args.num_blocks, cuda::sm80::kNormThreads, cuda::sm80::kNormSharedBytes}, [&] {
    if (dtype == DType::kBF16) {
      NormRope<cuda::Bf16>(args).run();
    } else {
      NormRope<cuda::F16>(args).run();
    }
  });
}

void emulate(const cuda::NormRopeGradientArgs& args, DType dtype, bool backwards) {
  using namespace cuda::sm80;  // NOLINT
  launch({args.num_blocks, kNormThreads, kNormGradientSharedBytes, backwards}, [&] {
    if (dtype == DType::kBF16) {
      NormRopeGradient<cuda::Bf16>(args).run();
    } else {
      NormRopeGradient<cuda::F16>(args).run();
    }
  });
  if (args.weight == nullptr) return;
  launch({(args.channels + kNormThreads - 1) / kNormThreads, kNormThreads, 0, backwards},
         [&] { add_weight_sums(args); });
}

void emulate(const cuda::ModulateArgs& args, DType dtype) {
  using namespace cuda::sm80;  // NOLINT
  const auto with = [&]<typename T>() {
    switch (args.kind) {
      case cuda::ModulateKind::kNorm: return modulated_norm<T>(args);
      case cuda::ModulateKind::kGatedAdd: return gated_add<T>(args);
      case cuda::ModulateKind::kGelu: return gelu_tanh<T>(args);
    }
  };
  launch(
      {args.num_blocks, kNormThreads, static_cast<std::size_t>(modulate_shared_bytes(args.kind))},
      [&] {
        if (dtype == DType::kBF16) return with.template operator()<cuda::Bf16>();
        with.template operator()<cuda::F16>();
      });
}

void emulate(const cuda::ModulateGradientArgs& args, DType dtype, bool backwards) {
  using namespace cuda::sm80;  // NOLINT
  const auto run = [&]<typename T>() {
    launch({args.num_blocks, kNormThreads,
            static_cast<std::size_t>(modulate_shared_bytes(args.kind)), backwards},
           [&] {
             switch (args.kind) {
               case cuda::ModulateKind::kNorm: return ModulatedNormGradientBlock<T>(args).run();
               case cuda::ModulateKind::kGatedAdd: return gated_add_gradient<T>(args);
               case cuda::ModulateKind::kGelu: return gelu_tanh_gradient<T>(args);
             }
           });
    if (args.kind == cuda::ModulateKind::kGelu) return;
    launch({args.num_sum_blocks, kNormThreads, 0, backwards},
           [&] { add_modulation_sums<T>(args); });
  };
  if (dtype == DType::kBF16) return run.template operator()<cuda::Bf16>();
  run.template operator()<cuda::F16>();
}

}  // namespace monarch::attention::test
