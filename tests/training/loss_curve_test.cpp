#include "monarch/training/loss_curve.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

#include "monarch/base/error.h"

namespace monarch::training {
namespace {

TEST(LossCurve, DrawsTheLinesItCanRead) {
  std::string pattern = (std::filesystem::temp_directory_path() / "monarch_curve_XXXXXX").string();
  const std::filesystem::path folder = mkdtemp(pattern.data());
  std::ofstream(folder / "loss.jsonl")
      << "{\"step\": 1, \"loss\": 2.0}\n{\"step\": 2, \"loss\": 1.0}\n{\"step\": 3, \"lo";
  draw_loss_curve(folder / "loss.jsonl", folder / "loss.svg");
  std::stringstream text;
  text << std::ifstream(folder / "loss.svg").rdbuf();
  EXPECT_EQ(text.str().rfind("<svg", 0), 0U);
  EXPECT_NE(text.str().find("</svg>"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(LossCurve, SaysThatThereIsNone) {
  try {
    draw_loss_curve("/nonexistent/loss.jsonl", "/nonexistent/loss.svg");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[monarch_training] there is no loss curve at /nonexistent/loss.jsonl");
  }
}

}  // namespace
}  // namespace monarch::training
