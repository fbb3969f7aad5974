#include "monarch/parallel/communicator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "tests/parallel/processes.h"

namespace monarch::parallel::test {
namespace {

std::string text_of(const at::Tensor& tensor) {
  std::string text;
  const at::Tensor flat = tensor.flatten().contiguous();
  for (std::int64_t i = 0; i < flat.numel(); ++i)
    text += std::to_string(static_cast<int>(flat[i].item<float>())) + " ";
  return text;
}

TEST(Communicator, OneProcessIsAGroupOfOne) {
  const auto alone = Communicator::join({});
  EXPECT_EQ(alone->size(), 1);
  at::Tensor x = at::arange(4, at::kFloat);
  alone->all_reduce(x);
  alone->broadcast(x, 0);
  alone->barrier();
  EXPECT_TRUE(at::equal(alone->all_gather(x), x));
  EXPECT_TRUE(at::equal(alone->reduce_scatter(x), x));
}

TEST(Communicator, CollectivesOfSeveralProcesses) {
  for (const int size : {2, 4}) {
    const auto ended = in_processes(size, [](Communicator& group) {
      const auto rank = static_cast<float>(group.rank());
      at::Tensor sum = at::full({3}, rank + 1);
      group.all_reduce(sum);
      at::Tensor strided = at::full({2, 2}, rank).t();
      group.broadcast(strided, 1);
      const at::Tensor all = group.all_gather(at::full({2}, rank));
      const at::Tensor piece = group.reduce_scatter(at::arange(2 * group.size(), at::kFloat));
      return text_of(sum) + "| " + text_of(strided) + "| " + text_of(all) + "| " + text_of(piece);
    });
    const std::string total = std::to_string(size * (size + 1) / 2) + " ";
    std::string all;
    for (int rank = 0; rank < size; ++rank)
      all += std::to_string(rank) + " " + std::to_string(rank) + " ";
    for (int rank = 0; rank < size; ++rank) {
      const std::string piece =
          std::to_string(2 * rank * size) + " " + std::to_string((2 * rank + 1) * size) + " ";
      EXPECT_EQ(ended[static_cast<size_t>(rank)].message,
                total + total + total + "| 1 1 1 1 | " + all + "| " + piece);
    }
  }
}

// The others wait in a collective operation that can never end.
TEST(Communicator, AKilledPeerIsNamed) {
  const CommunicatorOptions options{.silence = std::chrono::seconds(2)};
  const auto ended = in_processes(
      3,
      [](Communicator& group) -> std::string {
        if (group.rank() == 1) ::raise(SIGKILL);
        group.barrier();
        return "no error";
      },
      options);
  EXPECT_EQ(ended[1].code, -SIGKILL);
  for (const size_t rank : {0, 2}) {
    EXPECT_EQ(ended[rank].code, 1);
    EXPECT_NE(ended[rank].message.find("rank 1 has given no sign of life"), std::string::npos)
        << ended[rank].message;
  }
}

TEST(Communicator, APeerThatStopsWithoutClosingItsConnectionsIsNamed) {
  const CommunicatorOptions options{.silence = std::chrono::seconds(2)};
  const auto ended = in_processes(
      2,
      [](Communicator& group) -> std::string {
        if (group.rank() == 1) {  // as a machine that hangs
          if (::fork() == 0) {    // whoever is left of its processes ends it at last
            ::sleep(8);
            ::kill(::getppid(), SIGKILL);
            ::_exit(0);
          }
          ::raise(SIGSTOP);
        }
        group.barrier();
        return "no error";
      },
      options);
  EXPECT_EQ(ended[0].code, 1);
  EXPECT_NE(ended[0].message.find("rank 1 has given no sign of life"), std::string::npos)
      << ended[0].message;
}

TEST(Communicator, TheLastWordOfAPeerIsRepeated) {
  const CommunicatorOptions options{.silence = std::chrono::seconds(2)};
  const auto ended = in_processes(
      2,
      [](Communicator& group) -> std::string {
        if (group.rank() == 1) {
          group.leave("the disk is full");
          return "left";
        }
        group.barrier();
        return "no error";
      },
      options);
  EXPECT_EQ(ended[1].message, "left");
  EXPECT_EQ(ended[0].code, 1);
  EXPECT_NE(ended[0].message.find("rank 1 ended: the disk is full"), std::string::npos)
      << ended[0].message;
}

TEST(Communicator, PeersThatNeverComeAreAnError) {
  Launch launch{.launcher = "a test", .rank = 1, .size = 2, .port = 1};
  try {
    Communicator::join(launch, {.start = std::chrono::seconds(1)});
    FAIL() << "joined nobody";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what())
                  .find("rank 1 of 2 (a test) could not meet the others at "
                        "127.0.0.1:1"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace monarch::parallel::test
