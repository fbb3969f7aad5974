#include "monarch/serving/metrics.h"

#include <gtest/gtest.h>

#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

TEST(Metrics, PrintsPrometheusText) {
  Metrics metrics;
  metrics.declare_counter("requests_total", "Answers by status.");
  metrics.declare_gauge("viewers", "Open streams.");
  metrics.declare_histogram("chunk_seconds", "Time of a chunk.", {0.1, 1});
  metrics.add("requests_total", 2, label("status", "200"));
  metrics.add("requests_total", 1, label("status", "404"));
  metrics.set("viewers", 3);
  metrics.observe("chunk_seconds", 0.1);
  metrics.observe("chunk_seconds", 0.5);
  metrics.observe("chunk_seconds", 2);
  EXPECT_EQ(metrics.text(),
            "# HELP chunk_seconds Time of a chunk.\n"
            "# TYPE chunk_seconds histogram\n"
            "chunk_seconds_bucket{le=\"0.1\"} 1\n"
            "chunk_seconds_bucket{le=\"1\"} 2\n"
            "chunk_seconds_bucket{le=\"+Inf\"} 3\n"
            "chunk_seconds_sum 2.6\n"
            "chunk_seconds_count 3\n"
            "# HELP requests_total Answers by status.\n"
            "# TYPE requests_total counter\n"
            "requests_total{status=\"200\"} 2\n"
            "requests_total{status=\"404\"} 1\n"
            "# HELP viewers Open streams.\n"
            "# TYPE viewers gauge\n"
            "viewers 3\n");
  EXPECT_EQ(label("model", "a\"b\\c\nd"), "model=\"a\\\"b\\\\c\\nd\"");
  EXPECT_THROW(metrics.add("viewers"), Error);
  EXPECT_THROW(metrics.set("unknown", 1), Error);
}

HttpError translated(auto&& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return translate_exception();
  }
}

TEST(HttpError, OnlyTheCallersMistakesAreTold) {
  EXPECT_EQ(translated(HttpError(429, "later", std::chrono::seconds(3))).retry_after(),
            std::chrono::seconds(3));
  const HttpError mistake = translated(Error(ErrorCode::kInvalidArgument, "width 3 is odd"));
  EXPECT_EQ(mistake.status(), 400);
  EXPECT_STREQ(mistake.what(), "width 3 is odd");
  for (const HttpError& hidden : {translated(Error(ErrorCode::kIo, "/home/me/model is gone")),
                                  translated(std::runtime_error("at /home/me/x.cpp:12"))}) {
    EXPECT_EQ(hidden.status(), 500);
    EXPECT_STREQ(hidden.what(), "the server could not do this; its log says why");
  }
  EXPECT_EQ(translated(std::bad_alloc()).status(), 503);
  EXPECT_EQ(error_body(404, "no \xff"),
            "{\"error\":{\"code\":404,\"message\":\"no \xef\xbf\xbd\",\"type\":"
            "\"invalid_request_error\"}}");
}

}  // namespace
}  // namespace monarch::serving
