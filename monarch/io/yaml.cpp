#include "monarch/io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>

#include "monarch/base/error.h"
#include "monarch/io/text.h"
#include "monarch/io/yaml_scalar.h"

namespace monarch::io {
namespace {

constexpr std::size_t kMaxBytes = 16'000'000;
constexpr int kMaxNesting = 64;
// Aliases let a short text describe a document of any size.
constexpr std::size_t kMaxNodes = 1'000'000;

class Converter {
 public:
  explicit Converter(const std::string& where) : where_(where) {}

  Json convert(const YAML::Node& node, int depth) {
    check(depth <= kMaxNesting && ++num_nodes_ <= kMaxNodes, node, "nested too deep or too large");
    const std::string& tag = node.Tag();
    const bool core =
        tag.empty() || tag == "?" || tag == "!" || tag.starts_with("tag:yaml.org,2002:");
    check(core && tag.find("python") == std::string::npos, node,
          "the tag " + quote(tag) + " is not allowed");
    switch (node.Type()) {
      case YAML::NodeType::Null: return nullptr;
      case YAML::NodeType::Scalar: return scalar(node, tag);
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (const YAML::Node& item : node) list.push_back(convert(item, depth + 1));
        return list;
      }
      case YAML::NodeType::Map: return map(node, depth);
      case YAML::NodeType::Undefined: break;
    }
    check(false, node, "undefined value");
    return nullptr;
  }

 private:
  static Json scalar(const YAML::Node& node, const std::string& tag) {
    const std::string& text = node.Scalar();
    return tag == "!" || tag == "tag:yaml.org,2002:str" ? Json(text) : plain_yaml_scalar(text);
  }

  Json map(const YAML::Node& node, int depth) {
    Json object = Json::object();
    for (const auto& item : node) {
      check(item.first.IsScalar(), item.first, "a key is not a single word or number");
      const std::string& key = item.first.Scalar();
      check(key != "<<", item.first, "merge keys (<<) are not supported");
      check(!object.contains(key), item.first, "the key " + quote(key) + " occurs twice");
      object[key] = convert(item.second, depth + 1);
    }
    return object;
  }

  void check(bool good, const YAML::Node& node, const std::string& why) const {
    if (good) return;
    fail(ErrorCode::kInvalidArgument, "[config] ", where_, " line ", node.Mark().line + 1, ": ",
         why);
  }

  const std::string& where_;
  std::size_t num_nodes_ = 0;
};

// Receives a document and drops it.
class NoEvents final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnAlias(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnScalar(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                const std::string& /*value*/) override {}
  void OnSequenceStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {}
  void OnMapEnd() override {}
};

// Whether anything follows the first document. yaml-cpp's own LoadAll never returns for ",!s": its
// parser does not advance over such a stray character.
bool has_second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  NoEvents events;
  return parser.HandleNextDocument(events) && parser.HandleNextDocument(events);
}

}  // namespace

bool has_yaml() { return true; }

Json parse_yaml(std::string_view text, const std::string& where) {
  MONARCH_CHECK(text.size() <= kMaxBytes, "[config] ", where, " has ", byte_string(text.size()),
                "; a configuration has at most ", byte_string(kMaxBytes));
  MONARCH_CHECK(is_valid_utf8(text) && text.find('\0') == std::string_view::npos, "[config] ",
                where, " is not a UTF-8 text");
  try {
    const std::string whole(text);
    MONARCH_CHECK(!has_second_document(whole), "[config] ", where,
                  " holds more than one document, or stray characters after the first");
    return Converter(where).convert(YAML::Load(whole), 0);
  } catch (const YAML::Exception& error) {
    fail(ErrorCode::kInvalidArgument, "[config] ", where, " line ", error.mark.line + 1,
         ", column ", error.mark.column + 1, ": ", error.msg);
  }
}

}  // namespace monarch::io
