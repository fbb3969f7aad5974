#include "monarch/training/recipes/text.h"

#include <array>

namespace monarch::training {
namespace {

constexpr const char* kWeight = "attributes.weight";
constexpr const char* kBias = "attributes.bias";

// One classification: a name, how many classes, and the class of a scene (-1: does not apply).
struct Attribute {
  std::string name;
  int64_t classes;
  std::function<int64_t(const ShapesScene&)> label;
};

const std::vector<Attribute>& attributes() {
  static const std::vector<Attribute> all = [] {
    std::vector<Attribute> list{
        {"count", 2,
         [](const ShapesScene& scene) { return static_cast<int64_t>(scene.objects.size()) - 1; }},
        {"background", 3,
         [](const ShapesScene& scene) { return static_cast<int64_t>(scene.background); }}};
    for (std::size_t i = 0; i < 2; ++i) {
      const auto add = [&](const std::string& name, int64_t classes, auto member) {
        list.push_back({(i == 0 ? "first " : "second ") + name, classes,
                        [i, member](const ShapesScene& scene) {
                          return i < scene.objects.size()
                                     ? static_cast<int64_t>(scene.objects[i].*member)
                                     : -1;
                        }});
      };
      add("color", evaluation::kNumColors, &ShapeObject::color);
      add("kind", evaluation::kNumKinds, &ShapeObject::kind);
      add("motion", evaluation::kNumMotions, &ShapeObject::motion);
      add("size", 3, &ShapeObject::size);
    }
    return list;
  }();
  return all;
}

at::Tensor labels_of(const std::vector<ShapesScene>& scenes, const Attribute& attribute) {
  std::vector<int64_t> labels;
  for (const ShapesScene& scene : scenes) labels.push_back(attribute.label(scene));
  return at::tensor(labels);
}

}  // namespace

models::Umt5Config shapes_umt5_config() {
  return {.vocab_size = 0,
          .dim = 96,
          .dim_attn = 96,
          .dim_ffn = 192,
          .num_heads = 6,
          .num_layers = 2,
          .seq_len = 40};
}

models::TensorMap encoder_parameters(const models::TensorMap& parameters) {
  models::TensorMap encoder = parameters;
  encoder.erase(kWeight);
  encoder.erase(kBias);
  return encoder;
}

TextRecipe::TextRecipe(TextRecipeOptions options)
    : options_(std::move(options)),
      tokenizer_(options_.tokenizer, options_.umt5.seq_len),
      data_(ShapesOptions{.two_shapes = 0.4F}, mix_seed(options_.seed, 21)) {
  options_.umt5.vocab_size = tokenizer_.vocab_size();
  parameters_ = models::random_parameters(options_.umt5, mix_seed(options_.seed, 22));
  int64_t classes = 0;
  for (const Attribute& attribute : attributes()) classes += attribute.classes;
  parameters_[kWeight] = at::zeros({classes, options_.umt5.dim});
  parameters_[kBias] = at::zeros({classes});
}

at::Tensor TextRecipe::attribute_logits(const models::TensorMap& parameters,
                                        const models::TokenBatch& tokens) const {
  const models::Umt5Encoder encoder(options_.umt5, encoder_parameters(parameters));
  return at::linear(encoder.encode(tokens.ids, tokens.mask), parameters.at(kWeight),
                    parameters.at(kBias));
}

at::Tensor TextRecipe::loss(const models::TensorMap& parameters, int64_t step, int64_t part,
                            int64_t parts) const {
  const int64_t count = options_.batch / parts;
  const int64_t first = step * options_.batch + part * count;
  std::vector<std::string> captions;
  std::vector<ShapesScene> scenes;
  for (int64_t i = first; i < first + count; ++i) {
    ShapesSample sample = data_.sample(static_cast<std::uint64_t>(i));
    captions.push_back(std::move(sample.caption));
    scenes.push_back(std::move(sample.scene));
  }
  const models::TokenBatch tokens = tokenizer_.encode(captions);
  const at::Tensor logits = attribute_logits(parameters, tokens);  // [B, L, classes]
  const int64_t length = tokens.ids.size(1);
  at::Tensor total = at::zeros({});
  int64_t column = 0;
  for (const Attribute& attribute : attributes()) {
    const at::Tensor labels = labels_of(scenes, attribute).unsqueeze(1).expand({count, length});
    const at::Tensor targets = labels.masked_fill(tokens.mask.eq(0), -1).reshape({-1});
    const at::Tensor scores =
        logits.slice(2, column, column + attribute.classes).reshape({-1, attribute.classes});
    if (targets.max().item<int64_t>() >= 0) {
      total = total + at::cross_entropy_loss(scores, targets, {}, at::Reduction::Mean, -1);
    }
    column += attribute.classes;
  }
  return total;
}

std::map<std::string, double> TextRecipe::accuracy(const models::TensorMap& parameters,
                                                   const ShapesDataset& data, int64_t count) const {
  const at::NoGradGuard no_grad;
  std::vector<std::string> captions;
  std::vector<ShapesScene> scenes;
  for (int64_t i = 0; i < count; ++i) {
    ShapesSample sample = data.sample(static_cast<std::uint64_t>(i));
    captions.push_back(std::move(sample.caption));
    scenes.push_back(std::move(sample.scene));
  }
  const models::TokenBatch tokens = tokenizer_.encode(captions);
  const at::Tensor mask = tokens.mask.to(at::kFloat).unsqueeze(2);
  const at::Tensor logits = (attribute_logits(parameters, tokens) * mask).sum(1) / mask.sum(1);
  std::map<std::string, double> result;
  int64_t column = 0;
  for (const Attribute& attribute : attributes()) {
    const at::Tensor labels = labels_of(scenes, attribute);
    const at::Tensor guesses = logits.slice(1, column, column + attribute.classes).argmax(1);
    const at::Tensor applies = labels.ge(0);
    result[attribute.name] =
        guesses.eq(labels).logical_and(applies).sum().item<double>() / applies.sum().item<double>();
    column += attribute.classes;
  }
  return result;
}

}  // namespace monarch::training
