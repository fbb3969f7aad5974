// The pickle machine alone: inside of a zip file its checksum would stop most mutations.
#include "fuzz/target.h"
#include "monarch/io/pickle.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const io::Pickle pickle(bytes, "fuzz");
}
