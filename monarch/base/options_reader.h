// Reads an options struct from JSON: every key is checked, and unknown keys are errors that name
// the nearest known one.
//
//   OptionsReader reader(json, "monarch_args");
//   reader.read("f_tied", options.f_tied);
//   reader.finish();
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/base/suggest.h"

namespace monarch {

using Json = nlohmann::json;

class OptionsReader {
 public:
  // `where` names the object in messages: a file, or a path of keys.
  OptionsReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    MONARCH_CHECK(object_.is_object(), "[config] ", where_,
                  " must be a mapping of keys to values, but is ", object_.type_name());
  }

  // Sets `value` if the key is present and not null; leaves the default otherwise. Returns whether
  // it was set.
  template <typename T>
  bool read(const std::string& key, T& value) {
    known_.push_back(key);
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return false;
    try {
      value = found->template get<T>();
    } catch (const Json::exception&) {
      fail(ErrorCode::kInvalidArgument, "[config] ", where_, ".", key, " has the wrong type: got ",
           found->dump());
    }
    return true;
  }

  // Marks a key as known without reading it.
  void accept(const std::string& key) { known_.push_back(key); }

  // Throws if the object has a key that no call of read() or accept() named.
  void finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        fail(ErrorCode::kInvalidArgument, "[config] unknown key '", key, "' in ", where_,
             did_you_mean(key, known_));
      }
    }
  }

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

}  // namespace monarch
