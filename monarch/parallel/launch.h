// Where this process stands among those that were started together: torchrun, Slurm and MPI say it
// in environment variables.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace monarch::parallel {

struct Launch {
  std::string launcher = "one process";  // or torchrun, Slurm, MPI
  std::int64_t rank = 0;
  std::int64_t size = 1;
  std::int64_t local_rank = 0;  // on its machine
  std::int64_t local_size = 1;
  std::string address = "127.0.0.1";  // of the store that the processes meet at
  std::uint16_t port = 29500;
  bool store_runs = false;  // the launcher keeps the store; else rank 0 does
  int attempt = 0;          // torchrun's restart, so that a new start meets no leftovers
};

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// The variables of this process.
std::optional<std::string> environment_variable(const std::string& name);

// torchrun: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Slurm (inside
// srun): SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, SLURM_NTASKS_PER_NODE; the store is on
// SLURM_LAUNCH_NODE_IPADDR, its port derived from SLURM_JOB_ID. MPI: OMPI_COMM_WORLD_* or PMI_RANK
// and PMI_SIZE. MASTER_ADDR and MASTER_PORT go before what Slurm and MPI imply. Without any of
// these: one process. Throws kInvalidArgument naming the variable that is missing or wrong.
Launch read_launch(const Environment& environment = environment_variable);

}  // namespace monarch::parallel
