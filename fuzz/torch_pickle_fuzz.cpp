// A mutated pickle inside a sound archive with one storage: views, names, references.
#include <zlib.h>

#include <string>

#include "fuzz/target.h"
#include "fuzz/tensors.h"
#include "monarch/io/torch_checkpoint.h"
#include "tests/io/zip_files.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const std::string pickle(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string file =
      io::zip_file({{"m/data.pkl", pickle}, {"m/data/0", std::string(96, '\1')}});
  read_all(*io::parse_torch(std::as_bytes(std::span(file)), "fuzz"));
}
