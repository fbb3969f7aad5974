// Several processes that make one video: the results of one. A program of its own: it forks before
// it has threads.
#include "monarch/models/wan/sequence.h"

#include <gtest/gtest.h>

#include <csignal>

#include "monarch/models/wan/causal_dit.h"
#include "tests/models/support/tiny_dit.h"
#include "tests/parallel/processes.h"

namespace monarch::models {
namespace {

using parallel::Communicator;
using parallel::test::Ended;
using parallel::test::in_processes;

constexpr int64_t kFrames = 4, kRows = 6, kColumns = 3;  // of tokens; 4 ranks have 1, 2, 1, 2 rows

struct AttentionCase {
  const char* name;
  ops::MonarchOptions monarch;
  const char* rules = "[]";
};

const AttentionCase kCases[] = {
    {"dense", {}},
    {"monarch", {.enable = true, .num_iters = 1, .f_tied = 2, .h_reduce = 2, .w_reduce = 3}},
    {"rules",  // heads of a rank run different things, and ranks do
     {.enable = true, .num_iters = 1, .f_tied = 2, .h_reduce = 3},
     R"([{"preset": "dense", "heads": "1-2", "layers": 0}, {"preset": "dense", "heads": 3}])"}};

WanConfig config_of(const AttentionCase& attention) {
  WanConfig config = tiny_config();
  config.num_heads = 4;
  config.num_frame_per_block = 2;
  config.monarch = attention.monarch;
  config.attention = attention_rules_from_json(Json::parse(attention.rules), "attention");
  return config;
}

WanConfig shared_by(Communicator& ranks, WanConfig config) {
  config.sequence = {std::shared_ptr<void>(), &ranks};
  return config;
}

DitInput input(int64_t frames, at::ScalarType type = at::kFloat) {
  return {.x = normal({2, 4, frames, 2 * kRows, 2 * kColumns}, 1, type),
          .t = at::linspace(100, 900, 2 * frames).view({2, frames}),
          .context = normal({2, 6, 12}, 2, type)};
}

std::string unlike(const std::string& what, const at::Tensor& got, const at::Tensor& want,
                   double limit) {
  const double error = difference(got, want);
  return error <= limit ? "" : str_cat(what, " differs by ", error, "; ");
}

// Runs `body` in 1, 2 and 4 processes for every case; it returns what is wrong.
void expect_nothing_wrong(
    const std::function<std::string(Communicator&, const AttentionCase&)>& body) {
  for (const int size : {1, 2, 4}) {
    const auto ended = in_processes(size, [&](Communicator& ranks) {
      std::string wrong;
      for (const AttentionCase& attention : kCases) {
        const std::string found = body(ranks, attention);
        if (!found.empty()) wrong += str_cat(attention.name, ": ", found);
      }
      return wrong;
    });
    for (const Ended& one : ended) EXPECT_EQ(one.message, "") << size << " processes";
  }
}

TEST(Sequence, WholeVideos) {
  expect_nothing_wrong([](Communicator& ranks, const AttentionCase& attention) {
    const at::NoGradGuard no_grad;
    const WanConfig alone = config_of(attention), together = shared_by(ranks, alone);
    const TensorMap weights = random_weights(alone);
    DitInput all = input(kFrames);
    std::string wrong = unlike("causal", CausalWanDit(together, weights).forward_train(all),
                               CausalWanDit(alone, weights).forward_train(all), 1e-5);
    all.t = all.t.select(1, 0);
    return wrong + unlike("bidirectional", WanDit(together, weights).forward(all),
                          WanDit(alone, weights).forward(all), 1e-5);
  });
}

TEST(Sequence, VMonarch) {
  const auto ended = in_processes(2, [](Communicator& ranks) {
    const at::NoGradGuard no_grad;
    WanConfig alone = config_of(kCases[0]);
    alone.vmonarch = ops::VMonarchOptions{};
    const TensorMap weights = random_weights(alone);
    DitInput all = input(kFrames);
    all.t = all.t.select(1, 0);
    return unlike("flow", WanDit(shared_by(ranks, alone), weights).forward(all),
                  WanDit(alone, weights).forward(all), 1e-5);
  });
  for (const Ended& one : ended) EXPECT_EQ(one.message, "");
}

// With a window, a sink that turns, and every chunk passed twice.
TEST(Sequence, ChunksWithACache) {
  expect_nothing_wrong([](Communicator& ranks, const AttentionCase& attention) {
    const at::NoGradGuard no_grad;
    WanConfig alone = config_of(attention);
    alone.local_attn_size = 6;
    alone.sink_size = 2;
    alone.relative_sink = true;
    const WanConfig together = shared_by(ranks, alone);
    const TensorMap weights = random_weights(alone);
    const CausalWanDit model(alone, weights), shared(together, weights);
    const int64_t tokens = 6 * kRows * kColumns;
    DitCache cache(alone, 2, tokens, at::kFloat), own(together, 2, tokens, at::kFloat);
    std::string wrong;
    if (own.buffers(0).k.size(2) * ranks.size() != 4) wrong += "the cache holds others' heads; ";
    const DitInput all = input(10);
    for (int64_t begin = 0; begin < 10; begin += 2) {
      DitInput chunk = frames_of(all, begin, begin + 2), noisy = chunk;
      noisy.x = noisy.x + 1;
      for (const DitInput& pass : {noisy, chunk}) {
        wrong += unlike(str_cat("frame ", begin), shared.forward_cached(pass, begin, own),
                        model.forward_cached(pass, begin, cache), 1e-5);
      }
    }
    const HeadRange heads = own_heads(together);
    wrong += unlike("keys", own.buffers(1).k,
                    cache.buffers(1).k.narrow(2, heads.first, heads.count), 1e-5);
    return wrong;
  });
}

// The gradients of weights and context add up; that of x is whole. Layers kept and recomputed.
TEST(Sequence, Gradients) {
  expect_nothing_wrong([](Communicator& ranks, const AttentionCase& attention) {
    const at::AutoGradMode record(true);
    std::string wrong;
    for (const bool recompute : {false, true}) {
      WanConfig alone = config_of(attention);
      alone.recompute_layers = recompute;
      const at::Tensor direction = input(kFrames, at::kDouble).x.cos();
      const auto gradients = [&](const WanConfig& config) {
        TensorMap leaves = random_weights(config, at::kDouble);
        for (auto& [name, leaf] : leaves) leaf.set_requires_grad(true);
        DitInput all = input(kFrames, at::kDouble);
        all.x.set_requires_grad(true);
        all.context.set_requires_grad(true);
        (CausalWanDit(config, leaves).forward_train(all) * direction).sum().backward();
        TensorMap found{{"input.x", all.x.grad()}, {"input.context", all.context.grad()}};
        for (const auto& [name, leaf] : leaves) found[name] = leaf.grad();
        return found;
      };
      const TensorMap want = gradients(alone);
      for (auto& [name, part] : gradients(shared_by(ranks, alone))) {
        at::Tensor sum = part.clone();
        if (name != "input.x") ranks.all_reduce(sum);
        wrong += unlike(name, sum, want.at(name), 1e-9);
      }
    }
    return wrong;
  });
}

// What `body` throws in each of `size` processes.
std::vector<Ended> errors(int size, const std::function<void(Communicator&)>& body,
                          const parallel::CommunicatorOptions& options = {}) {
  return in_processes(
      size,
      [&](Communicator& ranks) -> std::string {
        body(ranks);
        return "no error";
      },
      options);
}

TEST(Sequence, SizesThatDoNotFitAreRefused) {
  const AttentionCase& dense = kCases[0];
  for (const Ended& one :
       errors(3, [&](Communicator& ranks) { shared_by(ranks, config_of(dense)).validate(); })) {
    EXPECT_EQ(one.message,
              "[monarch_models] num_heads 4 is not divisible by sequence_parallel_size 3; use 1, 2 "
              "or 4");
  }
  for (const Ended& one : errors(4, [&](Communicator& ranks) {
         const WanConfig config = shared_by(ranks, config_of(dense));
         DitInput low = input(kFrames);
         low.x = low.x.narrow(3, 0, 4);
         CausalWanDit(config, random_weights(config)).forward_train(low);
       })) {
    EXPECT_EQ(one.message,
              "[monarch_models] a video of 2 rows of tokens does not split over 4 processes; set "
              "sequence_parallel_size to at most 2, or make a higher video");
  }
  for (const Ended& one : errors(2, [&](Communicator& ranks) {
         const WanConfig config = shared_by(ranks, config_of(dense));
         DitInput half = input(kFrames);
         half.t = at::ones({2, 2 * kFrames});
         CausalWanDit(config, random_weights(config)).forward_train(half);
       })) {
    EXPECT_EQ(one.message,
              "[monarch_models] with sequence parallelism a timestep is for whole frames; got 8 "
              "timesteps for 4 frames");
  }
}

TEST(Sequence, AProcessThatDiesEndsTheOthers) {
  const auto ended = errors(2,
                            [](Communicator& ranks) {
                              const WanConfig config = shared_by(ranks, config_of(kCases[0]));
                              const CausalWanDit model(config, random_weights(config));
                              model.forward_train(input(kFrames));
                              if (ranks.rank() == 1) ::raise(SIGKILL);
                              model.forward_train(input(kFrames));
                            },
                            {.silence = std::chrono::seconds(2)});
  EXPECT_EQ(ended[1].code, -SIGKILL);
  EXPECT_NE(ended[0].message.find("all_to_all failed: rank 1 has given no sign of life"),
            std::string::npos)
      << ended[0].message;
}

}  // namespace
}  // namespace monarch::models
