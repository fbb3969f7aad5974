#include "monarch/io/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "monarch/base/error.h"
#include "monarch/base/tensor_view.h"
#include "monarch/io/text.h"

namespace monarch::io {
namespace {

// Receives nlohmann's parse events. The position in the document is one of a few states, so nesting
// beyond the format's is an error at once and duplicate keys are seen (a parsed document hides
// them).
class HeaderEvents {
 public:
  HeaderEvents(SafetensorsHeader& header, const std::string& where)
      : header_(header), where_(where) {}

  bool null() { reject("null"); }
  bool boolean(bool /*value*/) { reject("a bool"); }
  bool number_float(double /*value*/, const std::string& /*text*/) {
    reject("a fraction or too large a number");
  }
  bool number_integer(std::int64_t value) { reject(str_cat("the negative number ", value)); }
  bool binary(std::vector<std::uint8_t>& /*value*/) { reject("binary data"); }

  bool number_unsigned(std::uint64_t value) {
    if (state_ == State::kShape) {
      MONARCH_CHECK_CODE(value <= INT64_MAX, kCorrupt, place(), ": extent ", value,
                         " is too large");
      MONARCH_CHECK_CODE(tensor_.shape.size() < kMaxRank, kCorrupt, place(), ": more than ",
                         kMaxRank, " dimensions");
      tensor_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (state_ == State::kOffsets) {
      MONARCH_CHECK_CODE(num_offsets_ < 2, kCorrupt, place(),
                         ": data_offsets must be two numbers, begin and end");
      (num_offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
    } else {
      reject("a number");
    }
    return true;
  }

  bool string(std::string& value) {
    if (state_ == State::kMetadata) {
      header_.metadata[key_] = value;
    } else if (state_ == State::kTensor && key_ == "dtype") {
      const auto dtype = parse_dtype(value);
      // parse_dtype knows more spellings than the format has.
      MONARCH_CHECK_CODE(dtype && dtype_name(*dtype) == value, kUnsupported, place(),
                         " has the dtype ", quote(value), ", which this program does not know");
      tensor_.dtype = *dtype;
    } else {
      reject("a string");
    }
    return true;
  }

  bool start_object(std::size_t /*elements*/) {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTop) {
      keys_.clear();
      num_offsets_ = 0;
      tensor_ = {};
      tensor_.name = key_;
      state_ = key_ == "__metadata__" ? State::kMetadata : State::kTensor;
    } else {
      reject("an object");
    }
    return true;
  }

  bool end_object() {
    if (state_ == State::kTensor) finish_tensor();
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool start_array(std::size_t /*elements*/) {
    if (state_ == State::kTensor && key_ == "shape") {
      state_ = State::kShape;
    } else if (state_ == State::kTensor && key_ == "data_offsets") {
      state_ = State::kOffsets;
    } else {
      reject("a list");
    }
    return true;
  }

  bool end_array() {
    state_ = State::kTensor;
    return true;
  }

  bool key(std::string& name) {
    key_ = name;
    if (state_ == State::kTop) {
      MONARCH_CHECK_CODE(names_.insert(name).second, kCorrupt, "[monarch_io] ", where_, ": ",
                         quote(name), " occurs twice in the header");
      return true;
    }
    MONARCH_CHECK_CODE(keys_.insert(name).second, kCorrupt, place(), ": the key ", quote(name),
                       " occurs twice");
    MONARCH_CHECK_CODE(
        state_ == State::kMetadata || name == "dtype" || name == "shape" || name == "data_offsets",
        kCorrupt, place(), ": unknown key ", quote(name));
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*e*/) {
    fail(ErrorCode::kCorrupt, "[monarch_io] ", where_,
         ": the header is not valid JSON in UTF-8 (at its byte ", position, ")");
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };
  static constexpr std::size_t kMaxRank = 64;  // LibTorch's own limit

  std::string place() const {
    if (state_ == State::kStart || state_ == State::kTop) {
      return "[monarch_io] " + where_ + ": the header";
    }
    if (state_ == State::kMetadata) return "[monarch_io] " + where_ + ": __metadata__";
    return "[monarch_io] " + where_ + ": tensor " + quote(tensor_.name);
  }

  [[noreturn]] void reject(const std::string& what) const {
    fail(ErrorCode::kCorrupt, place(), " has ", what, " where ", expected(), " was expected");
  }

  const char* expected() const {
    switch (state_) {
      case State::kStart: return "an object";
      case State::kTop: return "an object describing a tensor";
      case State::kMetadata: return "a string";
      case State::kShape:
      case State::kOffsets: return "a whole number, zero or more,";
      default: return "dtype, shape or data_offsets";
    }
  }

  void finish_tensor() {
    MONARCH_CHECK_CODE(keys_.size() == 3 && num_offsets_ == 2, kCorrupt, place(),
                       " must have dtype, shape and two data_offsets");
    MONARCH_CHECK_CODE(tensor_.begin <= tensor_.end, kCorrupt, place(), ": data_offsets [",
                       tensor_.begin, ", ", tensor_.end, "] run backwards");
    // [0, 2^62, 2^62] holds no bytes, but its extents would overflow whoever computes strides: the
    // product without the zeros must fit as well.
    std::uint64_t bytes = dtype_size(tensor_.dtype);
    bool empty = false;
    for (const std::int64_t extent : tensor_.shape) {
      empty |= extent == 0;
      const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1));
      MONARCH_CHECK_CODE(!__builtin_mul_overflow(bytes, factor, &bytes) && bytes <= INT64_MAX,
                         kCorrupt, place(), ": shape ", shape_string(tensor_.shape),
                         " overflows 64 bits");
    }
    if (empty) bytes = 0;
    MONARCH_CHECK_CODE(tensor_.end - tensor_.begin == bytes, kCorrupt, place(), " ",
                       dtype_name(tensor_.dtype), " ", shape_string(tensor_.shape), " needs ",
                       bytes, " bytes, but its data_offsets span ", tensor_.end - tensor_.begin);
    header_.tensors.push_back(std::move(tensor_));
  }

  SafetensorsHeader& header_;
  const std::string& where_;
  State state_ = State::kStart;
  std::string key_;
  std::set<std::string> names_;
  std::set<std::string> keys_;
  HeaderTensor tensor_;
  int num_offsets_ = 0;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& where) {
  SafetensorsHeader header;
  HeaderEvents events(header, where);
  // The format demands the brace at the first byte; the parser would skip white space.
  MONARCH_CHECK_CODE(text.starts_with('{'), kCorrupt, "[monarch_io] ", where,
                     ": the header does not start with '{'; this is not a safetensors file");
  nlohmann::json::sax_parse(text, &events);
  return header;
}

}  // namespace monarch::io
