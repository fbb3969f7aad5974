#include "monarch/serving/wan/shared_engine.h"

#include <map>
#include <string>
#include <utility>

#include "monarch/base/error.h"
#include "monarch/base/log.h"

namespace monarch::serving {
namespace {

using Json = nlohmann::json;

// The first rank's text, and answer.
std::string text_of_first(parallel::Communicator& ranks, std::string text = {}) {
  at::Tensor size = at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong);
  ranks.broadcast(size, 0);
  text.resize(static_cast<std::size_t>(size.item<std::int64_t>()));
  ranks.broadcast(at::from_blob(text.data(), {static_cast<std::int64_t>(text.size())}, at::kByte),
                  0);
  return text;
}
bool answer_of_first(parallel::Communicator& ranks, bool answer = false) {
  at::Tensor shared = at::full({1}, answer ? 1 : 0, at::kByte);
  ranks.broadcast(shared, 0);
  return shared.item<std::uint8_t>() != 0;
}

Json as_json(const StreamSettings& settings) {
  return {{"prompt", settings.prompt},
          {"seed", settings.seed},
          {"attention", settings.attention},
          {"steps", settings.steps},
          {"blend", settings.blend}};
}

StreamSettings settings_of(const Json& json) {
  return {.prompt = json.at("prompt"),
          .seed = json.at("seed"),
          .attention = json.at("attention"),
          .steps = json.at("steps"),
          .blend = json.at("blend")};
}

// What a call does in the other processes.
class Follower {
 public:
  Follower(Engine& engine, parallel::Communicator& ranks) : engine_(engine), ranks_(ranks) {}

  void repeat(const Json& call) {
    for (const std::int64_t id : call.at("closed")) streams_.erase(id);
    const std::string& what = call.at("call").get_ref<const std::string&>();
    if (what == "prepare") return engine_.prepare();
    const std::int64_t id = call.at("stream");
    if (what == "open") {
      std::optional<std::int64_t> num_frames;
      if (call.contains("num_frames")) num_frames = call.at("num_frames");
      streams_[id] = engine_.open(settings_of(call.at("settings")), num_frames);
    } else if (what == "change") {
      streams_.at(id)->change(settings_of(call.at("settings")));
    } else {
      streams_.at(id)->advance([this] { return answer_of_first(ranks_); });
    }
  }

 private:
  Engine& engine_;
  parallel::Communicator& ranks_;
  std::map<std::int64_t, std::unique_ptr<EngineStream>> streams_;
};

}  // namespace

class SharedEngine::Stream final : public EngineStream {
 public:
  Stream(SharedEngine& engine, std::int64_t id, std::unique_ptr<EngineStream> own)
      : engine_(engine), id_(id), own_(std::move(own)) {}
  ~Stream() override {
    const std::lock_guard lock(engine_.mutex_);
    engine_.closed_.push_back(id_);
  }

  EngineChunk advance(const std::function<bool()>& cancelled) override {
    engine_.tell({{"call", "advance"}, {"stream", id_}});
    return own_->advance([&] { return answer_of_first(engine_.ranks_, cancelled && cancelled()); });
  }
  void change(const StreamSettings& settings) override {
    engine_.tell({{"call", "change"}, {"stream", id_}, {"settings", as_json(settings)}});
    own_->change(settings);
  }

 private:
  SharedEngine& engine_;
  std::int64_t id_;
  std::unique_ptr<EngineStream> own_;
};

SharedEngine::~SharedEngine() {
  try {
    tell({{"call", "end"}});
    ranks_.barrier();
  } catch (const std::exception& error) {
    log_warning(error.what());  // they have ended already
  }
}

void SharedEngine::tell(Json call) {
  {
    const std::lock_guard lock(mutex_);
    call["closed"] = std::exchange(closed_, {});
  }
  text_of_first(ranks_, call.dump());
}

void SharedEngine::prepare() {
  tell({{"call", "prepare"}});
  own_.prepare();
}

std::unique_ptr<EngineStream> SharedEngine::open(const StreamSettings& settings,
                                                 std::optional<std::int64_t> num_frames) {
  const std::int64_t id = opened_++;
  Json call{{"call", "open"}, {"stream", id}, {"settings", as_json(settings)}};
  if (num_frames) call["num_frames"] = *num_frames;
  tell(std::move(call));
  return std::make_unique<Stream>(*this, id, own_.open(settings, num_frames));
}

void follow(Engine& engine, parallel::Communicator& ranks) {
  Follower follower(engine, ranks);
  while (true) {
    const Json call = Json::parse(text_of_first(ranks));
    if (call.at("call") == "end") return ranks.barrier();
    try {
      follower.repeat(call);
    } catch (const Error& error) {
      // What the first process is told as well, and tells its viewer; but for a lost process.
      if (error.code() == ErrorCode::kIo) throw;
    }
  }
}

}  // namespace monarch::serving
