#include "apps/parity/registry.h"

#include <cstring>
#include <regex>

#include "apps/parity/attention.h"
#include "apps/parity/dit.h"
#include "apps/parity/pipelines.h"
#include "apps/parity/sampling.h"
#include "apps/parity/training.h"
#include "apps/parity/umt5.h"
#include "apps/parity/vae.h"
#include "monarch/base/error.h"

namespace monarch::apps {
namespace {

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kF64: return at::kDouble;
    case DType::kF32: return at::kFloat;
    case DType::kF16: return at::kHalf;
    case DType::kBF16: return at::kBFloat16;
    case DType::kI64: return at::kLong;
    case DType::kI32: return at::kInt;
    case DType::kI16: return at::kShort;
    case DType::kI8: return at::kChar;
    case DType::kU8: return at::kByte;
    case DType::kBool: return at::kBool;
    default:
      fail(ErrorCode::kUnsupported, "[parity] tensors of type ", dtype_name(dtype),
           " are not supported");
  }
}

at::Tensor copy_tensor(const io::TensorEntry& entry) {
  at::Tensor result = at::empty(entry.shape, at::TensorOptions().dtype(scalar_type(entry.dtype)));
  if (!entry.bytes.empty()) std::memcpy(result.data_ptr(), entry.bytes.data(), entry.bytes.size());
  return result;
}

}  // namespace

bool ParityInput::has(const std::string& name) const { return case_.file->find(name) != nullptr; }

at::Tensor ParityInput::tensor(const std::string& name) const {
  return copy_tensor(case_.tensor(name));
}

std::map<std::string, at::Tensor> ParityInput::with_prefix(const std::string& prefix) const {
  std::map<std::string, at::Tensor> result;
  for (const io::TensorEntry& entry : case_.file->tensors()) {
    if (entry.name.starts_with(prefix))
      result[entry.name.substr(prefix.size())] = copy_tensor(entry);
  }
  return result;
}

bool is_skippable(const std::string& op, const std::string& tensor_name) {
  static const std::regex monarch_intermediate(R"(expect\.(R|aL|cL|L|aR|cR|Y)(\.\d+)?)");
  if (op == "monarch_attention") return std::regex_match(tensor_name, monarch_intermediate);
  if (op == "vmonarch_attention")
    return tensor_name == "expect.entropy" || tensor_name == "expect.a_l";
  return false;
}

const std::map<std::string, ParityRunner>& parity_runners() {
  static const std::map<std::string, ParityRunner> runners = {
      // One line an op; the runner's file stands beside this one.
      {"backward_simulation", run_backward_simulation},
      {"bidirectional_diffusion_inference", run_bidirectional_diffusion_inference},
      {"bidirectional_inference", run_bidirectional_inference},
      {"blockwise_causal_mask", run_blockwise_causal_mask},
      {"causal_diffusion_inference", run_causal_diffusion_inference},
      {"checkpoint_sample", run_checkpoint_sample},
      {"critic_loss", run_critic_loss},
      {"data_parallel_step", run_data_parallel_step},
      {"dense_attention", run_dense_attention},
      {"dense_attention_block_causal", run_dense_attention_block_causal},
      {"dense_attention_kv_cache", run_dense_attention_kv_cache},
      {"diffusion_loss", run_diffusion_loss},
      {"distributed_sampler", run_distributed_sampler},
      {"dmd_generator_loss", run_dmd_generator_loss},
      {"dpmpp", run_dpmpp},
      {"ema_update", run_ema_update},
      {"flow_match_scheduler", run_flow_match_scheduler},
      {"flow_scheduler", run_flow_scheduler},
      {"lmdb_sample", run_lmdb_sample},
      {"modulated_layernorm", run_modulated_layernorm},
      {"monarch_attention", run_monarch_attention},
      {"monarch_attention_block_causal", run_monarch_attention_block_causal},
      {"monarch_attention_kv_cache", run_monarch_attention_kv_cache},
      {"optimizer_step", run_optimizer_step},
      {"patchify", run_patchify},
      {"rope_3d", run_rope_3d},
      {"self_forcing_inference", run_self_forcing_inference},
      {"sinusoidal_embedding", run_sinusoidal_embedding},
      {"t5_relative_position_bucket", run_t5_relative_position_bucket},
      {"timestep_sampling", run_timestep_sampling},
      {"tokenizer", run_tokenizer},
      {"train_steps", run_train_steps},
      {"umt5_encode", run_umt5_encode},
      {"unipc", run_unipc},
      {"vae_causal_conv3d", run_vae_causal_conv3d},
      {"vae_rms_norm", run_vae_rms_norm},
      {"vmonarch_attention", run_vmonarch_attention},
      {"wan_dit", run_wan_dit},
      {"wan_dit_causal_cache", run_wan_dit_causal_cache},
      {"wan_dit_causal_train", run_wan_dit_causal_train},
      {"wan_rmsnorm", run_wan_rmsnorm},
      {"wan_vae_decode", run_wan_vae_decode},
      {"wan_vae_decode_cached", run_wan_vae_decode_cached},
      {"wan_vae_encode", run_wan_vae_encode},
  };
  return runners;
}

}  // namespace monarch::apps
