// Reads an options struct from JSON: every key is checked, and unknown keys are errors that name
// the nearest known one.
//
//   OptionsReader reader(json, "monarch_args");
//   reader.read("f_tied", options.f_tied);
//   reader.finish();
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "monarch/base/error.h"
#include "monarch/base/suggest.h"

namespace monarch {

using Json = nlohmann::json;

// What a value of type T is called in messages, and whether `json` is one without loss: no fraction
// becomes an integer, no truth value a number.
template <typename T>
constexpr const char* json_type_name() {
  if constexpr (std::is_same_v<T, bool>) {
    return "true or false";
  } else if constexpr (std::is_integral_v<T>) {
    return "an integer";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "a number";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "text";
  } else if constexpr (requires { typename T::value_type; }) {
    return "a list";
  } else {
    return "something else";
  }
}

template <typename T>
bool holds(const Json& json) {
  // NOLINTNEXTLINE(bugprone-branch-clone): of T's kinds, two take anything
  if constexpr (std::is_same_v<T, Json>) {
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    return json.is_boolean();
  } else if constexpr (std::is_integral_v<T>) {
    return json.is_number_unsigned()
               ? std::in_range<T>(json.get<std::uint64_t>())
               : json.is_number_integer() && std::in_range<T>(json.get<std::int64_t>());
  } else if constexpr (std::is_floating_point_v<T>) {
    return json.is_number();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return json.is_string();
  } else if constexpr (requires { typename T::value_type; }) {
    if (!json.is_array() || !std::ranges::all_of(json, holds<typename T::value_type>)) return false;
    if constexpr (requires { std::tuple_size<T>::value; }) {
      return json.size() == std::tuple_size<T>::value;
    } else {
      return true;
    }
  } else {
    return true;
  }
}

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
    MONARCH_CHECK(holds<T>(*found), "[config] ", where_, '.', key, " has the wrong type: got ",
                  found->dump(), "; ", json_type_name<T>(), " was expected");
    value = found->template get<T>();
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
