#include "monarch/parallel/launch.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/message_of.h"

namespace monarch::parallel {
namespace {

using Variables = std::map<std::string, std::string>;

Environment from(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

const Variables kTorchrun = {{"RANK", "3"},        {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},  {"LOCAL_WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1234"}};

TEST(Launch, NothingMeansOneProcess) {
  const Launch launch = read_launch(from({{"MASTER_ADDR", "x"}, {"SLURM_PROCID", "0"}}));
  EXPECT_EQ(launch.size, 1);
  EXPECT_EQ(launch.rank, 0);
}

TEST(Launch, Torchrun) {
  Variables variables = kTorchrun;
  Launch launch = read_launch(from(variables));
  EXPECT_EQ(launch.launcher, "torchrun");
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 2);
  EXPECT_EQ(launch.address, "a");
  EXPECT_EQ(launch.port, 1234);
  EXPECT_FALSE(launch.store_runs);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  variables["TORCHELASTIC_RESTART_COUNT"] = "2";
  launch = read_launch(from(variables));
  EXPECT_TRUE(launch.store_runs);
  EXPECT_EQ(launch.attempt, 2);
}

TEST(Launch, Slurm) {
  Variables variables = {{"SLURM_PROCID", "5"},          {"SLURM_STEP_ID", "0"},
                         {"SLURM_NTASKS", "8"},          {"SLURM_LOCALID", "1"},
                         {"SLURM_NTASKS_PER_NODE", "4"}, {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"},
                         {"SLURM_JOB_ID", "70123"}};
  Launch launch = read_launch(from(variables));
  EXPECT_EQ(launch.launcher, "Slurm");
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 4);
  EXPECT_EQ(launch.address, "10.0.0.1");
  EXPECT_EQ(launch.port, 20123);
  variables["MASTER_ADDR"] = "head";
  variables["MASTER_PORT"] = "77";
  launch = read_launch(from(variables));
  EXPECT_EQ(launch.address, "head");
  EXPECT_EQ(launch.port, 77);
}

TEST(Launch, Mpi) {
  Variables variables = {{"OMPI_COMM_WORLD_SIZE", "4"},
                         {"OMPI_COMM_WORLD_RANK", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}};
  EXPECT_NE(message_of([&] { read_launch(from(variables)); }).find("need MASTER_ADDR"),
            std::string::npos);
  variables["MASTER_ADDR"] = "head";
  const Launch launch = read_launch(from(variables));
  EXPECT_EQ(launch.launcher, "MPI");
  EXPECT_EQ(launch.rank, 2);
  EXPECT_EQ(launch.local_size, 2);
  const Launch pmi = read_launch(from({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}));
  EXPECT_EQ(pmi.rank, 1);
  EXPECT_EQ(pmi.local_rank, 1);
}

TEST(Launch, WrongVariablesAreNamed) {
  for (const auto& [name, value] : Variables{{"RANK", "8"},
                                             {"RANK", "-1"},
                                             {"WORLD_SIZE", "0"},
                                             {"WORLD_SIZE", "two"},
                                             {"LOCAL_RANK", "2"},
                                             {"MASTER_PORT", "70000"},
                                             {"MASTER_PORT", "12x"}}) {
    Variables variables = kTorchrun;
    variables[name] = value;
    const std::string message = message_of([&] { read_launch(from(variables)); });
    EXPECT_NE(message.find(name + " is '" + value + "'"), std::string::npos) << message;
  }
  for (const auto& [name, value] : kTorchrun) {
    Variables variables = kTorchrun;
    variables.erase(name);
    const std::string message = message_of([&] { read_launch(from(variables)); });
    EXPECT_NE(message.find(name + " is not set"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace monarch::parallel
