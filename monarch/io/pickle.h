// A pickle machine that builds plain values and runs nothing.
//
// Pickle is a stack language whose GLOBAL and REDUCE instructions may call any function. This
// machine has its own allow-list, the content of tensor checkpoints: numbers, strings, bytes, bool,
// None, list, tuple, dict, OrderedDict, set, torch.Size, tensors and their storages. Everything
// else is refused by name before it is used. Instructions: the pickletools module of Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "monarch/base/dtype.h"

namespace monarch::io {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kBytes,
  kTuple,
  kList,
  kSet,
  kDict,
  kGlobal,   // an allowed type or function, not yet called
  kStorage,  // text: key of the record that holds the bytes
  kTensor,   // items: storage, offset, shape, strides
  kObject,   // attributes as in a dict: key, value, key, value, ...
};

// What a pickle may hold.
enum class PickleContent : std::uint8_t {
  kCheckpoint,           // the values above but objects
  kDistributedMetadata,  // also the classes in the .metadata of torch's distributed checkpoints
};

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  DType dtype = DType::kF32;        // storages
  std::int64_t integer = 0;         // kBool, kInt; storages: number of elements
  double real = 0;                  // kFloat
  std::string text;                 // kString, kBytes, kGlobal, kStorage
  std::vector<PickleValue*> items;  // sequences; dicts: key, value, key, value, ...
};

// Owns all values of one pickle; they may refer to each other in any way, cycles included.
class Pickle {
 public:
  // Throws kCorrupt for bytes that are no pickle, kUnsupported for what is not on the allow-list
  // ("refuses posix.system").
  Pickle(std::span<const std::byte> bytes, std::string where,
         PickleContent content = PickleContent::kCheckpoint);

  const PickleValue& root() const { return *root_; }

 private:
  friend class PickleMachine;
  std::deque<PickleValue> values_;
  PickleValue* root_ = nullptr;
};

}  // namespace monarch::io
