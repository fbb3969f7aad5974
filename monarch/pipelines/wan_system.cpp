#include "monarch/pipelines/wan_system.h"

#include <algorithm>

#include "monarch/base/error.h"
#include "monarch/base/log.h"
#include "monarch/base/timer.h"
#include "monarch/io/finite.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/streamed_layers.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/verify.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShownProblems = 12;  // of a part

// "a, b, c, and 5 more"
std::string listed(const std::vector<std::string>& items, std::size_t shown) {
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), shown); ++i)
    text += (i > 0 ? ", " : "") + items[i];
  if (items.size() > shown) text += str_cat(", and ", items.size() - shown, " more");
  return text;
}

}  // namespace

WanSystem::WanSystem(fs::path folder, WanSystemOptions options)
    : folder_(std::move(folder)),
      options_(std::move(options)),
      model_(models::find_model(folder_, options_.generator_checkpoint.empty())) {
  MONARCH_CHECK_CODE(model_.missing.empty(), kNotFound, "[monarch_pipelines] ", folder_.string(),
                     " lacks ", listed(model_.missing, model_.missing.size()),
                     "; is the download complete?");
  transformer_config_ = models::WanConfig::from_json(
      model_.transformer_config, (folder_ / model_.transformer_config_file()).string());
  transformer_config_.sequence = options_.sequence;
  transformer_config_.validate();
  vae_config_ = models::VaeConfig::from_json(model_.vae_config);
  text_config_ = models::Umt5Config::from_json(model_.text_config);
  MONARCH_CHECK_CODE(text_config_.dim == transformer_config_.text_dim, kCorrupt,
                     "[monarch_pipelines] the text encoder of ", folder_.string(), " gives ",
                     text_config_.dim, " values a token, its transformer takes ",
                     transformer_config_.text_dim,
                     "; set dim in text_encoder_config.json or text_dim in config.json");
  MONARCH_CHECK_CODE(
      vae_config_.z_dim == transformer_config_.out_dim, kCorrupt, "[monarch_pipelines] the VAE of ",
      folder_.string(), " has ", vae_config_.z_dim, " latent channels, its transformer ",
      transformer_config_.out_dim, "; set z_dim in vae_config.json or out_dim in config.json");
  text_config_.seq_len = transformer_config_.text_len;
  check_weights();
}

std::shared_ptr<const io::Checkpoint> WanSystem::open_transformer() const {
  if (options_.generator_checkpoint.empty()) return model_.open_transformer();
  return models::generator_of(io::open_checkpoint(options_.generator_checkpoint),
                              options_.generator_weights);
}

std::vector<WanSystem::Part> WanSystem::open_parts() const {
  return {{"transformer", open_transformer(), models::dit_parameter_shapes(transformer_config_)},
          {"VAE", io::open_checkpoint(model_.vae), models::parameter_shapes(vae_config_)},
          {"text encoder", io::open_checkpoint(model_.text_encoder),
           models::parameter_shapes(text_config_)}};
}

void WanSystem::check_weights() const {
  models::VerifyOptions names_only;
  names_only.names_only = true;
  std::string problems;
  for (const Part& part : open_parts()) {
    const models::PartReport report =
        models::verify_weights(part.name, *part.checkpoint, part.shapes, names_only);
    if (!report.problems.empty())
      problems += str_cat(" ", part.name, ": ", listed(report.problems, kShownProblems), ';');
  }
  MONARCH_CHECK_CODE(problems.empty(), kCorrupt, "[monarch_pipelines] the weights in ",
                     folder_.string(), " do not fit the configuration;", problems,
                     " correct the configuration or download the files again (monarch verify ",
                     folder_.string(), " lists everything)");
}

void WanSystem::fail_not_finite(std::string_view what) const {
  for (const Part& part : open_parts()) {
    for (const io::TensorEntry& tensor : part.checkpoint->tensors()) {
      const auto index = io::first_non_finite(tensor);
      MONARCH_CHECK_CODE(!index, kCorrupt, "[monarch_pipelines] ", what,
                         " came out as NaN or infinity, because the weights do: element ", *index,
                         " of ", tensor.name, " in the ", part.name,
                         "; download the file again (monarch verify ", folder_.string(),
                         " lists everything)");
    }
  }
  fail(ErrorCode::kCorrupt, "[monarch_pipelines] ", what,
       " came out as NaN or infinity, though all weights are finite; ",
       options_.dtype == at::kHalf ? "float16 is too narrow for this model: use bfloat16 or float32"
                                   : "lower the guidance or take another number of steps");
}

models::TensorMap WanSystem::load(const std::shared_ptr<const io::Checkpoint>& checkpoint,
                                  bool convert, at::Device device) const {
  models::TensorMap loaded;
  for (const auto& [name, tensor] : models::with_wan_names(models::to_tensors(checkpoint))) {
    const bool change = convert && tensor.is_floating_point();
    loaded.emplace(name, tensor.to(device, change ? options_.dtype : tensor.scalar_type()));
  }
  return loaded;
}

std::shared_ptr<const WanSystem::TransformerWeights> WanSystem::transformer_weights() {
  if (transformer_weights_) return transformer_weights_;
  const Timer timer;
  auto weights = std::make_shared<TransformerWeights>();
  if (residency_.transformer == Residency::Transformer::kStreamed) {
    const auto layers = std::make_shared<models::StreamedLayers>(
        load(open_transformer(), /*convert=*/true, at::kCPU), options_.device);
    *weights = {layers->outside(), layers};
  } else {
    weights->tensors = load(open_transformer(), !options_.low_memory, options_.device);
  }
  log_info("transformer weights loaded in ", timer.seconds(), " s");
  if (!options_.low_memory && residency_.transformer != Residency::Transformer::kFreed)
    transformer_weights_ = weights;
  return weights;
}

std::shared_ptr<const models::WanDit> WanSystem::transformer(const models::WanConfig& config) {
  const auto weights = transformer_weights();
  return std::make_shared<const models::WanDit>(config, weights->tensors, weights->layers);
}

std::shared_ptr<const models::CausalWanDit> WanSystem::causal_transformer(
    const models::WanConfig& config) {
  const auto weights = transformer_weights();
  return std::make_shared<const models::CausalWanDit>(config, weights->tensors, weights->layers);
}

std::shared_ptr<const models::WanVae> WanSystem::vae() {
  if (vae_) return vae_;
  const Timer timer;
  auto vae = std::make_shared<const models::WanVae>(
      vae_config_, load(io::open_checkpoint(model_.vae), /*convert=*/true, options_.device));
  log_info("VAE loaded in ", timer.seconds(), " s");
  if (!options_.low_memory && residency_.keep_vae) vae_ = vae;
  return vae;
}

double WanSystem::text_encoder_bytes() const {
  double total = 0;
  for (const io::TensorEntry& tensor : io::open_checkpoint(model_.text_encoder)->tensors())
    total += static_cast<double>(tensor.bytes.size());
  return total;
}

at::Device WanSystem::text_device() const {
  return residency_.text == Residency::Text::kOnHost ? at::kCPU : options_.device;
}

std::shared_ptr<const WanSystem::TextEncoder> WanSystem::text_encoder() {
  if (text_encoder_) return text_encoder_;
  const Timer timer;
  // The encoder converts each matrix while it is used: its file stays mapped, 11 GB in the
  // published size.
  const models::TensorMap weights =
      load(io::open_checkpoint(model_.text_encoder), /*convert=*/false, text_device());
  auto encoder = std::make_shared<const TextEncoder>(
      TextEncoder{models::Tokenizer(model_.tokenizer, text_config_.seq_len),
                  models::Umt5Encoder(text_config_, weights, options_.dtype)});
  log_info("text encoder loaded in ", timer.seconds(), " s");
  if (!options_.low_memory && residency_.text != Residency::Text::kFreed) text_encoder_ = encoder;
  return encoder;
}

at::Tensor WanSystem::encode_text(std::span<const std::string> prompts) {
  const at::NoGradGuard no_grad;
  const auto text = text_encoder();
  const models::TokenBatch tokens = text->tokenizer.encode(prompts);
  return text->encoder.embeds(tokens.ids.to(text_device()), tokens.mask.to(text_device()))
      .to(tensor_options());
}

}  // namespace monarch::pipelines
