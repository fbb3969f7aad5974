// One engine over several processes. A program of its own: it forks before it has threads.
#include "monarch/serving/wan/shared_engine.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "monarch/base/error.h"
#include "monarch/serving/wan/wan_engine.h"
#include "tests/parallel/processes.h"
#include "tests/pipelines/tiny_system_fixture.h"

namespace monarch::serving {
namespace {

using parallel::Communicator;
using parallel::test::Ended;
using parallel::test::in_processes;

// Writes down what it is asked. A chunk asks three times whether it is cancelled.
class DiaryEngine final : public Engine {
 public:
  const ModelCard& card() const override { return card_; }
  void prepare() override { diary += "prepare; "; }
  std::unique_ptr<EngineStream> open(const StreamSettings& settings,
                                     std::optional<std::int64_t> num_frames) override {
    MONARCH_CHECK(settings.prompt != "bad", "refused");
    return std::make_unique<Stream>(*this, settings, num_frames.value_or(-1));
  }
  std::string diary;

 private:
  class Stream final : public EngineStream {
   public:
    Stream(DiaryEngine& engine, const StreamSettings& settings, std::int64_t num_frames)
        : engine_(engine), name_(settings.prompt) {
      engine_.diary += str_cat("open ", name_, ' ', settings.seed, ' ', settings.attention, ' ',
                               settings.steps, ' ', settings.blend, ' ', num_frames, "; ");
    }
    ~Stream() override { engine_.diary += "close " + name_ + "; "; }
    EngineChunk advance(const std::function<bool()>& cancelled) override {
      for (int step = 0; step < 3; ++step) {
        if (cancelled()) fail(ErrorCode::kCancelled, "cancelled");
        engine_.diary += name_ + "; ";
      }
      return {};
    }
    void change(const StreamSettings& settings) override {
      engine_.diary += name_ + " becomes " + settings.prompt + "; ";
      name_ = settings.prompt;
    }

   private:
    DiaryEngine& engine_;
    std::string name_;
  };

  ModelCard card_;
};

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code() == ErrorCode::kCancelled ? "cancelled; " : "refused; ";
  }
  return "";
}

// With its outcomes, what the first process's viewers do.
std::string serve(Engine& engine) {
  engine.prepare();
  auto one = engine.open({.prompt = "one \"\n", .seed = 7, .attention = "dense", .steps = 3}, {});
  auto two = engine.open({.prompt = "two", .seed = kMaxSeed, .steps = 1, .blend = 2}, 9);
  std::string outcomes = code_of([&] { engine.open({.prompt = "bad"}, {}); });
  two->advance({});
  int asked = 0;
  outcomes += code_of([&] { one->advance([&] { return ++asked == 2; }); });
  one->change({.prompt = "three"});
  one->advance([] { return false; });
  two.reset();
  one->advance({});
  return outcomes;
}

TEST(SharedEngine, AllProcessesDoWhatTheFirstIsAsked) {
  const auto ended = in_processes(3, [](Communicator& ranks) {
    DiaryEngine engine;
    std::string outcomes;
    if (ranks.rank() == 0) {
      SharedEngine shared(engine, ranks);
      outcomes = serve(shared);
    } else {
      follow(engine, ranks);
    }
    return outcomes + "| " + engine.diary;
  });
  const std::string diary =
      "| prepare; open one \"\n 7 dense 3 0 -1; open two 9007199254740991  1 2 9; two; two; two; "
      "one \"\n; one \"\n becomes three; three; three; three; close two; three; three; three; "
      "close three; ";
  EXPECT_EQ(ended[0].message, "refused; cancelled; " + diary);
  EXPECT_EQ(ended[1].message, diary);
  EXPECT_EQ(ended[2].message, diary);
}

TEST(SharedEngine, WithoutTheFirstProcessTheOthersEnd) {
  const auto ended = in_processes(2,
                                  [](Communicator& ranks) -> std::string {
                                    DiaryEngine engine;
                                    if (ranks.rank() == 0) std::_Exit(0);
                                    follow(engine, ranks);
                                    return "followed";
                                  },
                                  {.silence = std::chrono::seconds(2)});
  EXPECT_EQ(ended[1].code, 1);
  EXPECT_NE(ended[1].message.find("[monarch_parallel] rank 1 of 2: broadcast failed"),
            std::string::npos)
      << ended[1].message;
}

// The largest difference of two chunks' bytes.
int difference(const EngineChunk& a, const EngineChunk& b) {
  int largest = a.frames.size() == b.frames.size() ? 0 : 256;
  for (std::size_t f = 0; f < a.frames.size() && largest < 256; ++f) {
    for (std::size_t i = 0; i < a.frames[f].size(); ++i)
      largest = std::max(largest, std::abs(a.frames[f][i] - b.frames[f][i]));
  }
  return largest;
}

// Two processes make one stream, with a new prompt and another attention on the way.
class SharedSystem : public pipelines::TinySystem {
 protected:
  static void SetUpTestSuite() {
    folder_ = new std::filesystem::path(pipelines::fresh_folder("shared_system"));
  }
};

TEST_F(SharedSystem, AStreamIsThatOfOneProcess) {
  const auto ended = in_processes(2, [](Communicator& ranks) -> std::string {
    if (ranks.rank() == 0) pipelines::write_tiny_system(*folder_);
    ranks.barrier();
    const auto options = TinySystem::options(pipelines::GenerationMode::kSelfForcing);
    pipelines::WanSystem together(*folder_, {.sequence = {std::shared_ptr<void>(), &ranks}});
    WanEngine engine(together, options);
    if (ranks.rank() > 0) {
      follow(engine, ranks);
      return "0 0 0 0 ";
    }
    pipelines::WanSystem alone(*folder_);
    WanEngine expected(alone, options);
    SharedEngine shared(engine, ranks);
    StreamSettings settings{.prompt = "a cat", .seed = 7, .attention = "dense", .steps = 3};
    const auto stream = shared.open(settings, std::nullopt);
    const auto want = expected.open(settings, std::nullopt);
    std::string differences;
    for (int chunk = 0; chunk < 4; ++chunk) {
      differences += str_cat(difference(stream->advance({}), want->advance({})) > 1, ' ');
      if (chunk == 1) settings.prompt = "a dog";
      if (chunk == 2) settings.attention = "monarchrt";
      stream->change(settings);
      want->change(settings);
    }
    return differences;
  });
  for (const Ended& one : ended) EXPECT_EQ(one.message, "0 0 0 0 ");
}

}  // namespace
}  // namespace monarch::serving
