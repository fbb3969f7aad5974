#include "monarch/io/safetensors.h"

#include "fuzz/target.h"
#include "fuzz/tensors.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  read_all(*io::parse_safetensors(bytes, "fuzz"));
}
