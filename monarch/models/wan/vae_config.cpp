#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "monarch/base/error.h"
#include "monarch/models/wan/vae.h"

namespace monarch::models {
namespace {

// Per-channel statistics of the latents that the Wan2.1 transformers were trained on.
const std::vector<double> kPublishedMean = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,
                                            -0.1517, 1.5508,  0.4134,  -0.0715, 0.5517,  -0.3632,
                                            -0.1922, -0.9497, 0.2503,  -0.2921};
const std::vector<double> kPublishedStd = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708,
                                           2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
                                           1.6382, 1.1253, 2.8251, 1.916};

void add_conv(ShapeMap& shapes, const std::string& name, Shape weight) {
  shapes[name + ".bias"] = {weight[0]};
  shapes[name + ".weight"] = std::move(weight);
}

void add_residual(ShapeMap& shapes, const std::string& name, int64_t in, int64_t out) {
  shapes[name + ".residual.0.gamma"] = {in, 1, 1, 1};
  add_conv(shapes, name + ".residual.2", {out, in, 3, 3, 3});
  shapes[name + ".residual.3.gamma"] = {out, 1, 1, 1};
  add_conv(shapes, name + ".residual.6", {out, out, 3, 3, 3});
  if (in != out) add_conv(shapes, name + ".shortcut", {out, in, 1, 1, 1});
}

void add_middle(ShapeMap& shapes, const std::string& name, int64_t width) {
  add_residual(shapes, name + ".0", width, width);
  shapes[name + ".1.norm.gamma"] = {width, 1, 1};
  add_conv(shapes, name + ".1.to_qkv", {3 * width, width, 1, 1});
  add_conv(shapes, name + ".1.proj", {width, width, 1, 1});
  add_residual(shapes, name + ".2", width, width);
}

void add_encoder(ShapeMap& shapes, const VaeConfig& config) {
  const size_t num_stages = config.dim_mult.size();
  int64_t width = config.dim;
  add_conv(shapes, "encoder.conv1", {width, 3, 3, 3, 3});
  int64_t index = 0;
  for (size_t stage = 0; stage < num_stages; ++stage) {
    const int64_t out = config.dim * config.dim_mult[stage];
    for (int64_t block = 0; block < config.num_res_blocks; ++block) {
      add_residual(shapes, str_cat("encoder.downsamples.", index++), width, out);
      width = out;
    }
    if (stage + 1 == num_stages) break;
    const std::string name = str_cat("encoder.downsamples.", index++);
    add_conv(shapes, name + ".resample.1", {width, width, 3, 3});
    if (config.temperal_downsample[stage])
      add_conv(shapes, name + ".time_conv", {width, width, 3, 1, 1});
  }
  add_middle(shapes, "encoder.middle", width);
  shapes["encoder.head.0.gamma"] = {width, 1, 1, 1};
  add_conv(shapes, "encoder.head.2", {2 * config.z_dim, width, 3, 3, 3});
  add_conv(shapes, "conv1", {2 * config.z_dim, 2 * config.z_dim, 1, 1, 1});
}

void add_decoder(ShapeMap& shapes, const VaeConfig& config) {
  const size_t num_stages = config.dim_mult.size();
  int64_t width = config.dim * config.dim_mult.back();
  add_conv(shapes, "conv2", {config.z_dim, config.z_dim, 1, 1, 1});
  add_conv(shapes, "decoder.conv1", {width, config.z_dim, 3, 3, 3});
  add_middle(shapes, "decoder.middle", width);
  int64_t index = 0;
  for (size_t stage = num_stages; stage-- > 0;) {
    const int64_t out = config.dim * config.dim_mult[stage];
    for (int64_t block = 0; block < config.num_res_blocks + 1; ++block) {
      add_residual(shapes, str_cat("decoder.upsamples.", index++), width, out);
      width = out;
    }
    if (stage == 0) break;
    const std::string name = str_cat("decoder.upsamples.", index++);
    add_conv(shapes, name + ".resample.1", {width / 2, width, 3, 3});
    if (config.temperal_downsample[stage - 1])
      add_conv(shapes, name + ".time_conv", {2 * width, width, 3, 1, 1});
    width /= 2;
  }
  shapes["decoder.head.0.gamma"] = {width, 1, 1, 1};
  add_conv(shapes, "decoder.head.2", {3, width, 3, 3, 3});
}

}  // namespace

VaeConfig VaeConfig::from_json(const Json& json) {
  VaeConfig config;
  OptionsReader reader(json, "vae");
  reader.read("dim", config.dim);
  reader.read("z_dim", config.z_dim);
  reader.read("dim_mult", config.dim_mult);
  reader.read("num_res_blocks", config.num_res_blocks);
  reader.read("attn_scales", config.attn_scales);
  reader.read("temperal_downsample", config.temperal_downsample);
  reader.read("latent_mean", config.latent_mean);
  reader.read("latent_std", config.latent_std);
  reader.finish();
  config.complete();
  return config;
}

Json VaeConfig::to_json() const {
  return {{"dim", dim},
          {"z_dim", z_dim},
          {"dim_mult", dim_mult},
          {"num_res_blocks", num_res_blocks},
          {"attn_scales", attn_scales},
          {"temperal_downsample", temperal_downsample},
          {"latent_mean", latent_mean},
          {"latent_std", latent_std}};
}

void VaeConfig::complete() {
  MONARCH_CHECK(dim > 0 && z_dim > 0 && num_res_blocks > 0,
                "[config] vae.dim, z_dim and num_res_blocks must be positive; got ", dim, ", ",
                z_dim, " and ", num_res_blocks);
  MONARCH_CHECK(!dim_mult.empty() &&
                    std::all_of(dim_mult.begin(), dim_mult.end(), [](int64_t m) { return m > 0; }),
                "[config] vae.dim_mult must be a list of positive numbers; got ",
                shape_string(dim_mult));
  MONARCH_CHECK(temperal_downsample.size() + 1 == dim_mult.size(),
                "[config] vae.temperal_downsample needs one flag per down stage, ",
                dim_mult.size() - 1, " for this dim_mult; got ", temperal_downsample.size());
  MONARCH_CHECK(attn_scales.empty(),
                "[config] vae.attn_scales must be empty: attention is in the middle block only");
  for (size_t stage = 1; stage < dim_mult.size(); ++stage) {
    MONARCH_CHECK(dim * dim_mult[stage] % 2 == 0, "[config] vae.dim * dim_mult[", stage,
                  "] = ", dim * dim_mult[stage], " must be even: an up block halves it");
  }
  const bool published = z_dim == static_cast<int64_t>(kPublishedMean.size());
  const auto size = static_cast<size_t>(z_dim);
  if (latent_mean.empty())
    latent_mean = published ? kPublishedMean : std::vector<double>(size, 0.0);
  if (latent_std.empty()) latent_std = published ? kPublishedStd : std::vector<double>(size, 1.0);
  MONARCH_CHECK(latent_mean.size() == size && latent_std.size() == size,
                "[config] vae.latent_mean and latent_std need z_dim = ", z_dim, " values; got ",
                latent_mean.size(), " and ", latent_std.size());
  for (const double deviation : latent_std) {
    MONARCH_CHECK(deviation > 0, "[config] vae.latent_std must be positive; got ", deviation);
  }
}

int64_t VaeConfig::temporal_factor() const {
  return int64_t{1} << std::count(temperal_downsample.begin(), temperal_downsample.end(), true);
}

int64_t VaeConfig::spatial_factor() const { return int64_t{1} << temperal_downsample.size(); }

int64_t VaeConfig::num_frames(int64_t latent_frames) const {
  return 1 + (latent_frames - 1) * temporal_factor();
}

int64_t VaeConfig::frames_per_group() const { return std::max<int64_t>(4, temporal_factor()); }

int64_t VaeConfig::num_latent_frames(int64_t frames) const {
  return 1 + (frames - 1) / frames_per_group() * (frames_per_group() / temporal_factor());
}

ShapeMap parameter_shapes(const VaeConfig& config, VaePart part) {
  ShapeMap shapes;
  if (part != VaePart::kDecoder) add_encoder(shapes, config);
  if (part != VaePart::kEncoder) add_decoder(shapes, config);
  return shapes;
}

TensorMap random_parameters(const VaeConfig& config, uint64_t seed, VaePart part) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const ShapeMap shapes = parameter_shapes(config, part);
  TensorMap parameters;
  for (const auto& [name, shape] : shapes) {
    at::Tensor& tensor = parameters[name] = at::zeros(shape, at::kFloat);
    if (name.ends_with(".gamma")) {
      tensor.fill_(1.0);
    } else if (!name.ends_with("middle.1.proj.weight")) {
      const bool is_weight = name.ends_with(".weight");
      const std::string weight = is_weight ? name : name.substr(0, name.size() - 4) + "weight";
      const Shape& kernel = shapes.at(weight);
      double fan_in = 1;
      for (size_t axis = 1; axis < kernel.size(); ++axis)
        fan_in *= static_cast<double>(kernel[axis]);
      const double bound = 1 / std::sqrt(fan_in);
      tensor.uniform_(-bound, bound, generator);
    }
  }
  return parameters;
}

}  // namespace monarch::models
