#include "monarch/parallel/communicator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "monarch/base/error.h"
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
  EXPECT_TRUE(at::equal(alone->all_to_all(x, {4}, {4}), x));
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

// Rank r sends r + 1 times its number to rank 0, none to rank 1, two to rank 2.
TEST(Communicator, AllToAllOfPiecesOfAnySize) {
  const auto ended = in_processes(3, [](Communicator& group) {
    const std::int64_t rank = group.rank();
    const at::Tensor pieces = at::full({rank + 3}, rank, at::kBFloat16);
    const std::vector<std::int64_t> received[] = {{1, 2, 3}, {0, 0, 0}, {2, 2, 2}};
    return text_of(group.all_to_all(pieces, {rank + 1, 0, 2}, received[rank]));
  });
  EXPECT_EQ(ended[0].message, "0 1 1 2 2 2 ");
  EXPECT_EQ(ended[1].message, "");
  EXPECT_EQ(ended[2].message, "0 0 1 1 2 2 ");
}

// Two under way at once, one of bfloat16, in the order they were started.
TEST(Communicator, OperationsGoOnWhileARankWorks) {
  const auto ended = in_processes(3, [](Communicator& group) {
    const at::Tensor rank = at::full({2}, group.rank(), at::kBFloat16);
    const auto gathered = group.start_all_gather(rank);
    const auto reduced = group.start_reduce_scatter(at::arange(6, at::kFloat));
    return text_of(reduced->wait()) + "| " + text_of(gathered->wait());
  });
  for (size_t rank = 0; rank < 3; ++rank)
    EXPECT_EQ(ended[rank].message,
              std::to_string(6 * rank) + " " + std::to_string(6 * rank + 3) + " | 0 0 1 1 2 2 ");
}

// Two nodes of two, and the pairs across them.
TEST(Communicator, PartsWorkByThemselves) {
  const auto ended = in_processes(4, [](Communicator& group) {
    const std::int64_t node = group.rank() / 2, place = group.rank() % 2;
    const auto inside = group.part({2 * node, 2 * node + 1}, str_cat("node ", node));
    const auto across = group.part({place, 2 + place}, str_cat("place ", place));
    const at::Tensor rank = at::full({1}, group.rank(), at::kFloat);
    at::Tensor sum = rank.clone();
    across->all_reduce(sum);
    return text_of(inside->all_gather(rank)) + text_of(sum) + std::to_string(inside->rank()) +
           std::to_string(across->rank());
  });
  EXPECT_EQ(ended[0].message, "0 1 2 00");
  EXPECT_EQ(ended[1].message, "0 1 4 10");
  EXPECT_EQ(ended[2].message, "2 3 2 01");
  EXPECT_EQ(ended[3].message, "2 3 4 11");
}

// The others wait in a part without the lost rank.
TEST(Communicator, APartOfAGroupThatLostARankEnds) {
  const CommunicatorOptions options{.silence = std::chrono::seconds(2)};
  const auto ended = in_processes(
      3,
      [](Communicator& group) -> std::string {
        if (group.rank() == 2) ::raise(SIGKILL);
        const auto part = group.part({0, 1}, "two");
        // Rank 1 would have waited for rank 2 before it came.
        if (group.rank() == 1) group.barrier();
        part->barrier();
        return "no error";
      },
      options);
  for (const size_t rank : {0, 1}) {
    EXPECT_EQ(ended[rank].code, 1);
    EXPECT_NE(ended[rank].message.find("rank 2 has given no sign of life"), std::string::npos)
        << ended[rank].message;
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
