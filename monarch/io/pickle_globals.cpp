#include "monarch/io/pickle_globals.h"

#include <array>

namespace monarch::io {
namespace {

// Python 2's name of a module stands beside Python 3's: pickle protocol 2 writes the old one.
constexpr std::array<PickleGlobal, 18> kAllowed{{
    {"collections.OrderedDict", PickleCall::kDict, {}},
    {"builtins.set", PickleCall::kSet, {}},
    {"__builtin__.set", PickleCall::kSet, {}},
    {"builtins.frozenset", PickleCall::kSet, {}},
    {"__builtin__.frozenset", PickleCall::kSet, {}},
    {"torch.Size", PickleCall::kSize, {}},
    {"torch._utils._rebuild_tensor_v2", PickleCall::kTensor, {}},
    {"torch._utils._rebuild_parameter", PickleCall::kParameter, {}},
    {"torch.DoubleStorage", PickleCall::kNothing, DType::kF64},
    {"torch.FloatStorage", PickleCall::kNothing, DType::kF32},
    {"torch.HalfStorage", PickleCall::kNothing, DType::kF16},
    {"torch.BFloat16Storage", PickleCall::kNothing, DType::kBF16},
    {"torch.LongStorage", PickleCall::kNothing, DType::kI64},
    {"torch.IntStorage", PickleCall::kNothing, DType::kI32},
    {"torch.ShortStorage", PickleCall::kNothing, DType::kI16},
    {"torch.CharStorage", PickleCall::kNothing, DType::kI8},
    {"torch.ByteStorage", PickleCall::kNothing, DType::kU8},
    {"torch.BoolStorage", PickleCall::kNothing, DType::kBool},
}};

// What the .metadata of a distributed checkpoint has besides.
constexpr std::array<PickleGlobal, 10> kDistributed{{
    {"torch.distributed.checkpoint.metadata.Metadata", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.TensorStorageMetadata", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.BytesStorageMetadata", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.TensorProperties", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.ChunkStorageMetadata", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.MetadataIndex", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata.StorageMeta", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.filesystem._StorageInfo", PickleCall::kObject, {}},
    {"torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING", PickleCall::kIgnored, {}},
    {"torch.serialization._get_layout", PickleCall::kIgnored, {}},
}};
constexpr std::array<std::string_view, 12> kDistributedValues{
    "torch.float64", "torch.float32", "torch.float16",     "torch.bfloat16",
    "torch.int64",   "torch.int32",   "torch.int16",       "torch.int8",
    "torch.uint8",   "torch.bool",    "pathlib.PosixPath", "pathlib.WindowsPath"};
constexpr PickleGlobal kValue{"a value of a distributed checkpoint", PickleCall::kIgnored, {}};

}  // namespace

const PickleGlobal* find_pickle_global(std::string_view name, PickleContent content) {
  if (content == PickleContent::kDistributedMetadata) {
    for (const PickleGlobal& global : kDistributed) {
      if (global.name == name) return &global;
    }
    for (const std::string_view value : kDistributedValues) {
      if (value == name) return &kValue;
    }
  }
  for (const PickleGlobal& global : kAllowed) {
    if (global.name == name) return &global;
  }
  return nullptr;
}

}  // namespace monarch::io
