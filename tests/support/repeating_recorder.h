// A recorder for the CPU: work runs while it is recorded, as its host code does on a GPU, and runs
// again with every replay.
#pragma once

#include "monarch/ops/recorder.h"
#include "monarch/ops/usage.h"

namespace monarch {

class RepeatingRecorder final : public ops::Recorder {
 public:
  std::unique_ptr<ops::Recording> record(const std::function<void()>& work) override {
    ++recorded;
    work();
    return std::make_unique<Repeated>(*this, work);
  }

  int recorded = 0, replayed = 0;

 private:
  class Repeated final : public ops::Recording {
   public:
    Repeated(RepeatingRecorder& recorder, std::function<void()> work)
        : recorder_(recorder), work_(std::move(work)) {}
    void replay() override {
      const ops::HeldCounts uncounted;  // a GPU counts nothing
      ++recorder_.replayed;
      work_();
    }

   private:
    RepeatingRecorder& recorder_;
    std::function<void()> work_;
  };
};

}  // namespace monarch
