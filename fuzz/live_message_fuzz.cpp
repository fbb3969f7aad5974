#include "fuzz/target.h"
#include "monarch/io/text.h"
#include "monarch/serving/live_protocol.h"

// What passes must be within the limits, and be sent back as JSON that every reader takes.
void monarch::fuzz::run(std::span<const std::byte> bytes) {
  using namespace monarch::serving;
  const ModelCard model{
      .id = "shapes", .attentions = {"dense", "monarchrt"}, .width = 64, .height = 64};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const ViewerMessage message = parse_viewer_message(text, model, Limits{});
  if (const auto* start = std::get_if<StartMessage>(&message)) {
    const StreamSettings& settings = start->settings;
    if (settings.prompt.empty() || settings.prompt.size() > Limits{}.prompt_bytes) std::abort();
    if (settings.seed > kMaxSeed || settings.steps < 1 || settings.steps > 4) std::abort();
    const std::string sent = chunk_message({.settings = settings});
    if (!io::is_valid_utf8(sent) || sent.find('\n') != std::string::npos) std::abort();
  }
}
