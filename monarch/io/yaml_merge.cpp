#include "monarch/io/mapped_file.h"
#include "monarch/io/yaml.h"

namespace monarch::io {

Json read_yaml(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  Json config =
      parse_yaml({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
  if (config.is_null()) return Json::object();
  MONARCH_CHECK(config.is_object(), "[config] ", path.string(),
                " must be a mapping of keys to values, but is ", config.type_name());
  return config;
}

Json deep_merge(Json base, const Json& over) {
  if (!base.is_object() || !over.is_object()) return over;
  for (const auto& [key, value] : over.items()) {
    const auto found = base.find(key);
    base[key] = found == base.end() ? value : deep_merge(std::move(*found), value);
  }
  return base;
}

}  // namespace monarch::io
