#include "monarch/models/wan/pass_recordings.h"

#include <gtest/gtest.h>

#include "tests/support/repeating_recorder.h"

namespace monarch::models {
namespace {

PassRecordings::Inputs inputs_of(float x, float t = 2, int64_t tokens = 3) {
  return {at::full({tokens}, x), at::full({1}, t), at::full({1}, 5.0F)};
}

class Recordings : public testing::Test {
 protected:
  float run(const PassRecordings::Inputs& inputs, int64_t key = 0, int64_t surroundings = 0) {
    const at::Tensor out = recordings_.run({key}, {surroundings}, inputs, work_);
    return out[0].item<float>();
  }

  std::shared_ptr<RepeatingRecorder> recorder_ = std::make_shared<RepeatingRecorder>();
  PassRecordings recordings_{recorder_};
  int worked_ = 0;
  PassRecordings::Work work_ = [this](const PassRecordings::Inputs& in) {
    ++worked_;
    ops::count_attention("dense", "forward", "test");
    return in.x * in.t + in.rope;
  };
};

TEST_F(Recordings, WorkThatComesAgainIsReplayedWithItsOwnInputs) {
  EXPECT_EQ(run(inputs_of(1)), 7);
  EXPECT_EQ(recorder_->recorded, 0);
  EXPECT_EQ(run(inputs_of(2)), 9);
  EXPECT_EQ(run(inputs_of(3, 4)), 17);
  EXPECT_EQ(recorder_->recorded, 1);
  EXPECT_EQ(recorder_->replayed, 2);
}

TEST_F(Recordings, ResultsOutliveTheNextReplay) {
  run(inputs_of(1));
  const at::Tensor second = recordings_.run({0}, {0}, inputs_of(2), work_);
  run(inputs_of(3));
  EXPECT_EQ(second[0].item<float>(), 9);
}

TEST_F(Recordings, KeysAndShapesTellWorksApart) {
  for (const int64_t key : {0, 1, 0, 1}) run(inputs_of(1), key);
  EXPECT_EQ(recorder_->recorded, 2);
  run(inputs_of(1, 2, 4));
  EXPECT_EQ(recorder_->recorded, 2);
  run(inputs_of(1, 2, 4));
  EXPECT_EQ(recorder_->recorded, 3);
}

TEST_F(Recordings, OtherSurroundingsMakeThemVoid) {
  for (int i = 0; i < 3; ++i) run(inputs_of(1));
  EXPECT_EQ(recorder_->replayed, 2);
  run(inputs_of(1), 0, 1);
  EXPECT_EQ(recorder_->replayed, 2);
  run(inputs_of(1), 0, 0);  // a first time, again
  EXPECT_EQ(recorder_->replayed, 2);
}

TEST_F(Recordings, ReplaysCountAsWhatTheyRun) {
  ops::reset_attention_runs();
  for (int i = 0; i < 5; ++i) run(inputs_of(1));
  ASSERT_EQ(ops::attention_runs().size(), 1U);
  EXPECT_EQ(ops::attention_runs()[0].count, 5);
}

TEST_F(Recordings, ADeviceThatCannotRecordRunsTheWork) {
  class Refusing final : public ops::Recorder {
    std::unique_ptr<ops::Recording> record(const std::function<void()>& /*work*/) override {
      TORCH_CHECK(false, "operation not permitted when stream is capturing");
    }
  };
  recordings_ = PassRecordings(std::make_shared<Refusing>());
  ops::reset_attention_runs();
  for (const float x : {1.0F, 2.0F, 3.0F}) EXPECT_EQ(run(inputs_of(x)), 2 * x + 5);
  EXPECT_EQ(worked_, 3);
  EXPECT_EQ(ops::attention_runs()[0].count, 3);
}

}  // namespace
}  // namespace monarch::models
