#include "fuzz/target.h"
#include "monarch/io/prompts.h"
#include "monarch/io/text.h"

void monarch::fuzz::run(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const std::string& prompt : io::parse_prompts(text, "fuzz")) {
    if (!io::is_valid_utf8(prompt)) std::abort();
    if (!io::is_valid_utf8(io::quote(prompt))) std::abort();
  }
}
