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

}  // namespace

const PickleGlobal* find_pickle_global(std::string_view name) {
  for (const PickleGlobal& global : kAllowed) {
    if (global.name == name) return &global;
  }
  return nullptr;
}

}  // namespace monarch::io
