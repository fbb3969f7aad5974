#include "monarch/parallel/launch.h"

#include <charconv>
#include <cstdlib>

#include "monarch/base/error.h"

namespace monarch::parallel {
namespace {

std::int64_t number(const std::string& name, const std::string& text, std::int64_t least,
                    std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  MONARCH_CHECK(
      error == std::errc() && end == text.data() + text.size() && value >= least && value <= most,
      "[monarch_parallel] the environment variable ", name, " is '", text, "'; a number from ",
      least, " to ", most, " was expected");
  return value;
}

constexpr std::int64_t kMostProcesses = 1 << 20;

// What a launcher calls the numbers that place a process among the others.
struct Names {
  const char* size;
  const char* rank;
  const char* local_size;
  const char* local_rank;
};

class Reader {
 public:
  Reader(const Environment& environment, std::string launcher)
      : environment_(environment), launcher_(std::move(launcher)) {}

  std::string text(const std::string& name) const {
    const std::optional<std::string> value = environment_(name);
    MONARCH_CHECK(value.has_value() && !value->empty(), "[monarch_parallel] started by ", launcher_,
                  ", but the environment variable ", name, " is not set");
    return *value;
  }
  // Without numbers of their own machine, all processes are taken to be on one.
  Launch place(const Names& names) const {
    Launch launch{.launcher = launcher_};
    launch.size = count(names.size);
    launch.rank = index(names.rank, launch.size);
    const bool local = environment_(names.local_size).has_value();
    launch.local_size = local ? count(names.local_size) : launch.size;
    launch.local_rank = local || environment_(names.local_rank)
                            ? index(names.local_rank, launch.local_size)
                            : launch.rank;
    return launch;
  }
  void read_store(Launch& launch) const {
    if (const auto address = environment_("MASTER_ADDR")) launch.address = *address;
    if (const auto port = environment_("MASTER_PORT"))
      launch.port = static_cast<std::uint16_t>(number("MASTER_PORT", *port, 1, 65535));
  }

 private:
  std::int64_t count(const std::string& name) const {
    return number(name, text(name), 1, kMostProcesses);
  }
  std::int64_t index(const std::string& name, std::int64_t size) const {
    return number(name, text(name), 0, size - 1);
  }

  const Environment& environment_;
  std::string launcher_;
};

Launch torchrun(const Environment& environment) {
  const Reader reader(environment, "torchrun");
  reader.text("LOCAL_WORLD_SIZE");  // torchrun always says
  Launch launch = reader.place({"WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"});
  launch.address = reader.text("MASTER_ADDR");
  reader.text("MASTER_PORT");
  reader.read_store(launch);
  launch.store_runs = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (const auto attempt = environment("TORCHELASTIC_RESTART_COUNT")) {
    launch.attempt =
        static_cast<int>(number("TORCHELASTIC_RESTART_COUNT", *attempt, 0, kMostProcesses));
  }
  return launch;
}

Launch slurm(const Environment& environment) {
  const Reader reader(environment, "Slurm");
  Launch launch =
      reader.place({"SLURM_NTASKS", "SLURM_PROCID", "SLURM_NTASKS_PER_NODE", "SLURM_LOCALID"});
  launch.address = environment("SLURM_LAUNCH_NODE_IPADDR").value_or(launch.address);
  if (const auto job = environment("SLURM_JOB_ID")) {
    // Jobs on one machine keep apart.
    const std::int64_t id = number("SLURM_JOB_ID", *job, 0, INT64_C(1) << 40);
    launch.port = static_cast<std::uint16_t>(20000 + id % 10000);
  }
  reader.read_store(launch);
  return launch;
}

Launch mpi(const Environment& environment, const Names& names) {
  const Reader reader(environment, "MPI");
  Launch launch = reader.place(names);
  MONARCH_CHECK(launch.local_size == launch.size || environment("MASTER_ADDR"),
                "[monarch_parallel] MPI started ", launch.size, " processes on several machines, ",
                "which need MASTER_ADDR, the address of rank 0's machine, in their environment "
                "(mpirun -x MASTER_ADDR=...)");
  reader.read_store(launch);
  return launch;
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Launch read_launch(const Environment& environment) {
  if (environment("RANK") || environment("WORLD_SIZE")) return torchrun(environment);
  if (environment("OMPI_COMM_WORLD_SIZE")) {
    return mpi(environment, {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"});
  }
  // A shell inside an allocation has the job's variables, but is no task of a step.
  if (environment("SLURM_PROCID") && environment("SLURM_STEP_ID")) return slurm(environment);
  if (environment("PMI_SIZE")) {
    return mpi(environment, {"PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS", "MPI_LOCALRANKID"});
  }
  return {};
}

}  // namespace monarch::parallel
