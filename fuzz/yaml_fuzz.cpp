#include "fuzz/target.h"
#include "monarch/io/yaml.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  io::parse_yaml({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
}
