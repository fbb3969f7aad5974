// The allow-list of the pickle machine: which module.name may occur, and what calling it does.
#pragma once

#include <optional>
#include <string_view>

#include "monarch/base/dtype.h"
#include "monarch/io/pickle.h"

namespace monarch::io {

enum class PickleCall {
  kNothing,    // a storage type: only part of a persistent id
  kDict,       // OrderedDict() or OrderedDict(pairs)
  kSet,        // set(list), frozenset(list)
  kSize,       // torch.Size(tuple)
  kTensor,     // torch._utils._rebuild_tensor_v2(...)
  kParameter,  // torch._utils._rebuild_parameter(tensor, ...)
  kObject,     // an object of a plain class: its attributes
  kIgnored,    // something that is not needed: None
};

struct PickleGlobal {
  std::string_view name;  // "collections.OrderedDict"
  PickleCall call = PickleCall::kNothing;
  std::optional<DType> dtype;  // storage types
};

// nullptr: not allowed in such content.
const PickleGlobal* find_pickle_global(std::string_view name, PickleContent content);

}  // namespace monarch::io
