#include "monarch/io/parity_case.h"

#include "fuzz/target.h"
#include "monarch/io/safetensors.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const io::ParityCase parity = io::read_parity_case(io::parse_safetensors(bytes, "fuzz"), "fuzz");
  for (const std::string& name : parity.names("")) {
    const io::TensorEntry& tensor = parity.tensor(name);
    if (tensor.dtype == DType::kF8E4M3 || tensor.dtype == DType::kF8E5M2) continue;
    io::compare(tensor, tensor, parity.rel_l2_tolerance, parity.rms_floor);
  }
}
