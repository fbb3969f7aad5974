// The allow-list of the pickle machine: which module.name may occur, and what calling it does.
#pragma once

#include <optional>
#include <string_view>

#include "monarch/base/dtype.h"

namespace monarch::io {

enum class PickleCall {
  kNothing,    // a storage type: only part of a persistent id
  kDict,       // OrderedDict() or OrderedDict(pairs)
  kSet,        // set(list), frozenset(list)
  kSize,       // torch.Size(tuple)
  kTensor,     // torch._utils._rebuild_tensor_v2(...)
  kParameter,  // torch._utils._rebuild_parameter(tensor, ...)
};

struct PickleGlobal {
  std::string_view name;  // "collections.OrderedDict"
  PickleCall call = PickleCall::kNothing;
  std::optional<DType> dtype;  // storage types
};

// nullptr: not allowed.
const PickleGlobal* find_pickle_global(std::string_view name);

}  // namespace monarch::io
