#include "apps/activations.h"

#include "monarch/base/error.h"
#include "monarch/io/parity_case.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/tensors.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::apps {
namespace {

class ActivationFile {
 public:
  ActivationFile(const std::filesystem::path& path, double tolerance)
      : file_(io::open_checkpoint(path)), where_(path.string()), tolerance_(tolerance) {}

  bool has(const std::string& name) const { return file_->find(name) != nullptr; }

  at::Tensor input(const std::string& name) const {
    const io::TensorEntry* entry = file_->find(name);
    MONARCH_CHECK_CODE(entry != nullptr, kCorrupt, "[monarch_apps] ", where_, " lacks ", name,
                       "; write it again with tools/export_reference_activations.py");
    return models::to_tensor(*entry, file_);
  }
  at::Tensor optional_input(const std::string& name) const {
    return has(name) ? input(name) : at::Tensor();
  }

  void compare(const std::string& name, const at::Tensor& got) {
    std::vector<at::Tensor> storage;
    const std::vector<io::TensorEntry> entries = models::to_entries({{name, got}}, storage);
    const io::Comparison comparison = io::compare(entries.at(0), *file_->find(name), tolerance_);
    results.push_back({name, comparison.error, comparison.problem});
  }

  const std::string& where() const { return where_; }

  std::vector<ActivationResult> results;

 private:
  std::shared_ptr<const io::Checkpoint> file_;
  std::string where_;
  double tolerance_;
};

void compare_text(const models::ModelFolder& model, ActivationFile& file) {
  if (!file.has("expect.text")) return;
  const auto weights =
      models::with_wan_names(models::to_tensors(io::open_checkpoint(model.text_encoder)));
  const models::Umt5Encoder encoder(models::Umt5Config::from_json(model.text_config), weights);
  file.compare("expect.text", encoder.embeds(file.input("input.ids"), file.input("input.mask")));
}

void compare_transformer(const models::ModelFolder& model, ActivationFile& file) {
  if (!file.has("expect.flow")) return;
  const auto weights = models::with_wan_names(models::to_tensors(model.open_transformer()));
  const models::WanDit dit(models::WanConfig::from_json(model.transformer_config), weights);
  models::DitInput input;
  input.x = file.input("input.x");
  input.t = file.input("input.t");
  input.context = file.input("input.context");
  input.y = file.optional_input("input.y");
  input.clip_fea = file.optional_input("input.clip_fea");
  file.compare("expect.flow", dit.forward(input));
}

void compare_vae(const models::ModelFolder& model, ActivationFile& file) {
  if (!file.has("expect.video") && !file.has("expect.latent")) return;
  const auto weights = models::with_wan_names(
      models::to_tensors(io::open_checkpoint(model.vae), at::ScalarType::Float));
  const models::WanVae vae(models::VaeConfig::from_json(model.vae_config), weights);
  if (file.has("expect.video"))
    file.compare("expect.video", vae.decode(file.input("input.latent")));
  if (file.has("expect.latent"))
    file.compare("expect.latent", vae.encode(file.input("input.video")));
}

}  // namespace

std::vector<ActivationResult> compare_activations(const models::ModelFolder& model,
                                                  const std::filesystem::path& path,
                                                  double tolerance) {
  const at::NoGradGuard no_grad;
  ActivationFile file(path, tolerance);
  compare_text(model, file);
  compare_transformer(model, file);
  compare_vae(model, file);
  MONARCH_CHECK_CODE(!file.results.empty(), kCorrupt, "[monarch_apps] ", file.where(),
                     " holds no reference activations (expect.text, expect.flow, expect.video, "
                     "expect.latent)");
  return std::move(file.results);
}

}  // namespace monarch::apps
