#pragma once

#include "apps/parity/registry.h"

namespace monarch::apps {

// With networks.
ParityOutput run_backward_simulation(const ParityInput& in);
ParityOutput run_critic_loss(const ParityInput& in);
ParityOutput run_data_parallel_step(const ParityInput& in);
ParityOutput run_diffusion_loss(const ParityInput& in);
ParityOutput run_dmd_generator_loss(const ParityInput& in);
ParityOutput run_train_steps(const ParityInput& in);

// Without.
ParityOutput run_checkpoint_sample(const ParityInput& in);
ParityOutput run_distributed_sampler(const ParityInput& in);
ParityOutput run_ema_update(const ParityInput& in);
ParityOutput run_flow_scheduler(const ParityInput& in);
ParityOutput run_lmdb_sample(const ParityInput& in);
ParityOutput run_optimizer_step(const ParityInput& in);
ParityOutput run_timestep_sampling(const ParityInput& in);

}  // namespace monarch::apps
