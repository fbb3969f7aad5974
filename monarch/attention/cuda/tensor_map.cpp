// Tensor maps, made by the driver's function: found at run time, so that nothing links the driver.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>

#include "monarch/attention/cuda/launch.h"
#include "monarch/base/error.h"

namespace monarch::attention::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  constexpr unsigned kFirstVersion = 12000;
  const cudaError_t status = cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &function, kFirstVersion, cudaEnableDefault, &found);
  MONARCH_CHECK_CODE(
      status == cudaSuccess && found == cudaDriverEntryPointSuccess, kUnsupported,
      "[monarch_attention] the driver makes no tensor maps: ", cudaGetErrorString(status));
  return reinterpret_cast<Encode>(function);
}

}  // namespace

TensorMap encode_tensor_map(const TensorTiles& tiles, DType dtype) {
  static const Encode encode = find_encode();
  static_assert(sizeof(CUtensorMap) == sizeof(TensorMap));
  const cuuint64_t sizes[] = {tiles.sizes[0], tiles.sizes[1], tiles.sizes[2], tiles.sizes[3]};
  cuuint64_t strides[3];
  for (int axis = 0; axis < 3; ++axis) {
    strides[axis] = static_cast<cuuint64_t>(tiles.strides[static_cast<std::size_t>(axis)]) * 2;
  }
  const cuuint32_t box[] = {kBoxDepth, 1, tiles.box_tokens, 1};
  const cuuint32_t steps[] = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = encode(
      &map,
      dtype == DType::kBF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4,
      const_cast<std::uint16_t*>(tiles.data), sizes, strides, box, steps,  // NOLINT: it only reads
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  MONARCH_CHECK_CODE(
      result == CUDA_SUCCESS, kInternal,
      "[monarch_attention] CUDA kernel monarch_forward (sm_90a): the driver makes no "
      "tensor map (CUresult ",
      static_cast<int>(result), ") of [", sizes[3], ", ", sizes[2], ", ", sizes[1], ", ", sizes[0],
      "] with strides of ", strides[2], ", ", strides[1], " and ", strides[0],
      " bytes, in boxes of ", box[2], " tokens");
  TensorMap bytes;
  std::memcpy(bytes.bytes.data(), &map, sizeof(map));
  return bytes;
}

}  // namespace monarch::attention::cuda
