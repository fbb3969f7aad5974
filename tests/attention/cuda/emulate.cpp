#include "tests/attention/cuda/emulate.h"

#include "monarch/attention/cuda/sm80/dispatch.h"
#include "monarch/attention/cuda/sm80/flash_rows.cuh"
#include "monarch/attention/cuda/sm80/flash_tiles.h"
#include "monarch/attention/cuda/sm80/gradient_pair.cuh"
#include "monarch/attention/cuda/sm80/merge_splits.cuh"
#include "monarch/attention/cuda/sm80/monarch_backward.cuh"
#include "monarch/attention/cuda/sm80/monarch_forward.cuh"
#include "monarch/attention/cuda/sm80/norm_rope.cuh"
#include "monarch/attention/cuda/sm80/vmonarch_columns.cuh"

namespace monarch::attention::test {

using cuda::sm80::kThreads;
using cuda::sm80::kWarps;

void emulate(const cuda::MonarchForwardArgs& args, DType dtype, bool backwards) {
  cuda::sm80::dispatch_monarch_forward(
      args, dtype, [&]<typename T, int kHeadDim, int kRowFragments>() {
        launch({args.num_blocks, kThreads, args.shared.bytes, backwards},
               [&] { cuda::sm80::MonarchForwardBlock<T, kHeadDim, kRowFragments>(args).run(); });
        if (args.num_splits == 1) return;
        const std::int64_t rows = std::int64_t{args.batch} * args.num_heads * args.q_tokens;
        launch({(rows + kWarps - 1) / kWarps, kThreads, 0, backwards},
               [&] { cuda::sm80::merge_splits<T>(args); });
      });
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

void emulate(const cuda::VMonarchForwardArgs& args, DType dtype, bool backwards) {
  using cuda::VMonarchForwardArgs;
  using namespace cuda::sm80;  // NOLINT: kinds and passes are many
  dispatch_head_dim(args.padded_head_dim, dtype, [&]<typename T, int kHeadDim>() {
    vmonarch_passes(
        args,
        [&]<FlashKind kKind>(const VMonarchForwardArgs& pass) {
          launch({flash_blocks(pass, kKind), kThreads,
                  static_cast<std::size_t>(flash_shared_bytes(kHeadDim, kKind)), backwards},
                 [&] { FlashRows<T, kHeadDim, kKind>(pass).run(); });
        },
        [&]<ColumnPass kPass>(const VMonarchForwardArgs& pass) {
          launch({column_blocks(pass), kThreads, 0, backwards},
                 [&] { VMonarchColumns<T, kHeadDim, kPass>(pass).run(); });
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

}  // namespace monarch::attention::test
