#include "fuzz/target.h"
#include "monarch/serving/access.h"
#include "monarch/serving/byte_range.h"
#include "monarch/serving/video_protocol.h"

// The body of a POST to /v1/videos; the same bytes also as Host and Range headers.
void monarch::fuzz::run(std::span<const std::byte> bytes) {
  using namespace monarch::serving;
  const ModelCard model{
      .id = "shapes", .attentions = {"dense", "monarchrt"}, .width = 64, .height = 64};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("bytes=")) {
    const auto range = parse_byte_range(text, 1000);
    if (range && (range->first > range->last || range->last >= 1000)) std::abort();
    return;
  }
  if (text.starts_with("host:")) {
    if (parse_host(text.substr(5)).name.empty()) std::abort();
    return;
  }
  const Limits limits;
  const VideoRequest request = parse_video_request(text, model, limits);
  if (request.num_frames < 1 || request.num_frames > limits.max_video_frames ||
      request.num_frames % 4 != 1) {
    std::abort();
  }
}
