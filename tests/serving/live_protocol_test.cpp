#include "monarch/serving/live_protocol.h"

#include <gtest/gtest.h>

#include "monarch/serving/json_input.h"
#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

const ModelCard kModel{.id = "shapes",
                       .attentions = {"monarchrt", "dense"},
                       .width = 64,
                       .height = 64,
                       .default_steps = 4,
                       .max_steps = 8};

ViewerMessage parse(std::string_view text) { return parse_viewer_message(text, kModel, Limits{}); }
Refusal refusal(std::string_view text) {
  return refusal_of([&] { parse(text); });
}

TEST(LiveProtocol, StartFillsInTheModelsDefaults) {
  const auto message = std::get<StartMessage>(parse(R"({"type": "start", "prompt": "a circle"})"));
  EXPECT_EQ(message.settings.prompt, "a circle");
  EXPECT_EQ(message.settings.seed, 0U);
  EXPECT_EQ(message.settings.attention, "monarchrt");
  EXPECT_EQ(message.settings.steps, 4);
  const auto full = std::get<StartMessage>(parse(
      R"({"type": "start", "prompt": "x", "seed": 9007199254740991, "attention": "dense", "steps": 8, "blend": 3})"));
  EXPECT_EQ(full.settings.seed, kMaxSeed);
  EXPECT_EQ(full.settings.attention, "dense");
  EXPECT_EQ(full.settings.steps, 8);
  EXPECT_EQ(full.settings.blend, 3);
}

TEST(LiveProtocol, ChangeNamesOnlyWhatChanges) {
  const auto change = std::get<ChangeMessage>(parse(R"({"type": "change", "paused": true})"));
  EXPECT_EQ(change.paused, true);
  EXPECT_FALSE(change.prompt || change.seed || change.attention || change.steps);
  EXPECT_TRUE(std::holds_alternative<RestartMessage>(parse(R"({"type": "restart"})")));
  EXPECT_EQ(std::get<PlayedMessage>(parse(R"({"type": "played", "frame": 12})")).frame, 12);
}

TEST(LiveProtocol, RefusesWithOneLineThatSaysWhy) {
  EXPECT_EQ(refusal(R"({"type": "start"})").text, "a start message needs a prompt");
  EXPECT_EQ(refusal(R"({"type": "start", "prompt": " \n "})").text,
            "the prompt is empty; say what the video should show");
  EXPECT_EQ(refusal(R"({"type": "start", "prompt": "a\u0000b"})").text,
            "the prompt has control characters; give plain text");
  EXPECT_EQ(refusal(R"({"type": "dance"})").text,
            "the message's type is 'dance'; start, change, restart or played was expected");
  EXPECT_EQ(refusal(R"({"type": "change", "steps": 9})").text, "steps is 9; 1 to 8 was expected");
  EXPECT_EQ(refusal(R"({"type": "change", "steps": 0})").status, 400);
  EXPECT_EQ(refusal(R"({"type": "change", "blend": 65})").text,
            "blend is 65; 0 to 64 was expected");
  EXPECT_EQ(refusal(R"({"type": "change", "blend": -1})").status, 400);
  EXPECT_EQ(refusal(R"({"type": "change", "attention": "magic"})").text,
            "attention is 'magic'; this model offers monarchrt, dense");
  EXPECT_EQ(refusal(R"({"type": "change", "seed": 9007199254740992})").text,
            "seed is 9007199254740992; 0 to 9007199254740991 was expected");
  EXPECT_NE(refusal(R"({"type": "change", "seed": -1})").text.find("wrong type"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"type": "change", "promt": "x"})").text.find("did you mean 'prompt'"),
            std::string::npos);
  EXPECT_EQ(refusal(R"({"type": "restart", "prompt": "x"})").status, 400);
  EXPECT_EQ(refusal(R"({"type": "played", "frame": -1})").status, 400);
}

TEST(LiveProtocol, RefusesJsonThatIsNotPlain) {
  EXPECT_EQ(refusal("").status, 400);
  EXPECT_EQ(refusal("[]").text, "the message must be a JSON object, but is array");
  EXPECT_EQ(refusal(R"({"type": "restart")").status, 400);
  EXPECT_EQ(refusal(R"({"type": "restart", "type": "start"})").text,
            "the message has the key 'type' twice");
  EXPECT_EQ(refusal("{\"type\": \"\xff\"}").text, "the message is not UTF-8 text");
  EXPECT_EQ(refusal(R"({"seed": 1e999})").text, "the message has a number that is too large");
  EXPECT_EQ(refusal(std::string(10'000, '[')).text, "the message is nested deeper than 4 levels");
  EXPECT_EQ(refusal(std::string(20'000, ' ')).status, 413);
  const std::string long_prompt(5000, 'a');
  EXPECT_EQ(refusal(R"({"type": "start", "prompt": ")" + long_prompt + "\"}").text,
            "the prompt has 5000 bytes; at most 4096 are allowed");
  // A value that is quoted in the answer stays one short line.
  const Refusal wrong = refusal(R"({"type": "change", "seed": ")" + long_prompt + "\"}");
  EXPECT_LT(wrong.text.size(), 400U);
}

TEST(LiveProtocol, TellsTheViewerWhatHappens) {
  const Json hello = Json::parse(hello_message(kModel, "video/mp4", Limits{}));
  EXPECT_EQ(hello["type"], "hello");
  EXPECT_EQ(hello["attentions"], Json({"monarchrt", "dense"}));
  EXPECT_EQ(hello["max_prompt_bytes"], 4096);
  const Json chunk = Json::parse(chunk_message(
      {.chunk_index = 2, .first_frame = 21, .num_frames = 12, .settings = {.prompt = "x"}}));
  EXPECT_EQ(chunk["first_frame"], 21);
  EXPECT_EQ(chunk["settings"]["prompt"], "x");
  EXPECT_EQ(Json::parse(error_message(400, "no"))["message"], "no");
  EXPECT_EQ(Json::parse(end_message("the server stops"))["reason"], "the server stops");
}

}  // namespace
}  // namespace monarch::serving
