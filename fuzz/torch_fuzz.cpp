#include "fuzz/target.h"
#include "fuzz/tensors.h"
#include "monarch/io/torch_checkpoint.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const auto checkpoint = io::parse_torch(bytes, "fuzz");
  read_all(*checkpoint);
  checkpoint->check_integrity();
}
