#include "monarch/pipelines/wan_system.h"

#include <fstream>
#include <limits>

#include "monarch/io/safetensors.h"
#include "monarch/models/wan/tensors.h"
#include "tests/pipelines/tiny_system_fixture.h"

namespace monarch::pipelines {
namespace {

namespace fs = std::filesystem;

TEST_F(TinySystem, ATrainedGeneratorReplacesTheTransformer) {
  const models::WanConfig config = tiny_config();
  models::TensorMap nested;
  for (const auto& [name, tensor] : tiny_weights(config, 11)) {
    nested["generator.model._fsdp_wrapped_module." + name] = tensor;
    nested["generator_ema.model." + name] = tensor * 1.0;
  }
  for (const auto& [name, tensor] : tiny_weights(config, 12))
    nested["generator_ema.model." + name] = tensor;
  const fs::path file = fresh_folder("generator") / "trained.safetensors";
  std::vector<at::Tensor> storage;
  io::write_safetensors(file, models::to_entries(nested, storage), {});

  WanSystem base(*folder_);
  WanSystem trained(*folder_, {.generator_checkpoint = file});
  const GenerationOptions settings = options(GenerationMode::kFewStep);
  WanSystem raw(*folder_, {.generator_checkpoint = file,
                           .generator_weights = models::GeneratorWeights::kRaw});
  const auto latents = [&](WanSystem& system) {
    return generate_video(system, settings, {.prompt = "x", .decode = false}, nullptr).latents;
  };
  const at::Tensor averaged = latents(trained);
  EXPECT_FALSE(at::equal(averaged, latents(base)));
  EXPECT_FALSE(at::equal(averaged, latents(raw)));
  const fs::path plain = fresh_folder("averaged") / "plain.safetensors";
  io::write_safetensors(plain, models::to_entries(tiny_weights(config, 12), storage), {});
  WanSystem same(*folder_, {.generator_checkpoint = plain});
  EXPECT_TRUE(at::equal(averaged, latents(same)));
  EXPECT_EQ(message_of([&] { WanSystem(*folder_, {.generator_checkpoint = "/nowhere/x.pt"}); }),
            "[monarch_io] there is no file /nowhere/x.pt");
}

TEST_F(TinySystem, DiffusersFoldersGiveTheSameVideo) {
  const fs::path theirs = fresh_folder("diffusers");
  write_tiny_diffusers_system(theirs);
  // Their configuration has no length of the context: the published 512 pads more, which the
  // transformer attends to.
  const fs::path wan = fresh_folder("wan512");
  write_tiny_system(wan);
  Json config = Json::parse(std::ifstream(wan / "config.json"));
  config["text_len"] = 512;
  std::ofstream(wan / "config.json") << config.dump();
  const auto make = [&](const fs::path& folder) {
    WanSystem system(folder);
    Counter sink;
    generate_video(system, options(GenerationMode::kDiffusion), {.prompt = "a red circle"}, &sink);
    return sink.video();
  };
  // Not bit for bit: weights lie at other addresses, and with those some libraries' matrix products
  // round otherwise. A step of a byte is 4e-3.
  EXPECT_LT((make(theirs) - make(wan)).abs().max().item<float>(), 1e-4F);
}

TEST_F(TinySystem, ListsEverythingThatDoesNotFit) {
  const fs::path broken = fresh_folder("misfit");
  write_tiny_system(broken);
  models::TensorMap weights = tiny_weights(tiny_config());
  weights.erase("head.head.bias");
  weights["blocks.0.norm3.bias"] = at::zeros({3});
  std::vector<at::Tensor> storage;
  io::write_safetensors(broken / "diffusion_pytorch_model.safetensors",
                        models::to_entries(weights, storage), {});
  models::TensorMap vae = models::random_parameters(tiny_vae_config(), 3);
  vae["extra"] = at::zeros({1});
  io::write_safetensors(broken / "Wan2.1_VAE.safetensors", models::to_entries(vae, storage), {});
  EXPECT_EQ(message_of([&] { WanSystem{broken}; }),
            "[monarch_pipelines] the weights in " + broken.string() +
                " do not fit the configuration; transformer: blocks.0.norm3.bias has the shape "
                "[3], expected [24], head.head.bias [16] is missing; VAE: extra is not part of "
                "this model; correct the configuration or download the files again (monarch "
                "verify " +
                broken.string() + " lists everything)");
}

TEST_F(TinySystem, WeightsThatAreNotNumbersAreNamed) {
  const GenerationOptions settings = options(GenerationMode::kSelfForcing);
  for (const std::string part : {"transformer", "VAE", "text encoder"}) {
    const fs::path broken = fresh_folder("nan");
    write_tiny_system(broken);
    models::TensorMap weights = part == "transformer" ? tiny_weights(tiny_config())
                                : part == "VAE" ? models::random_parameters(tiny_vae_config(), 3)
                                                : models::random_parameters(tiny_text_config(), 2);
    const std::string name = part == "transformer" ? "blocks.1.norm3.bias"
                             : part == "VAE"       ? "decoder.conv1.bias"
                                                   : "blocks.0.norm1.weight";
    weights[name][5] = std::numeric_limits<float>::quiet_NaN();
    std::vector<at::Tensor> storage;
    const char* file = part == "transformer" ? "diffusion_pytorch_model.safetensors"
                       : part == "VAE"       ? "Wan2.1_VAE.safetensors"
                                             : "models_t5_umt5-tiny-enc.safetensors";
    io::write_safetensors(broken / file, models::to_entries(weights, storage), {});
    WanSystem system(broken);
    Counter sink;
    const char* what = part == "transformer" ? "the latents"
                       : part == "VAE"       ? "the decoded frames"
                                             : "the text embeddings";
    EXPECT_EQ(message_of([&] { generate_video(system, settings, {.prompt = "x"}, &sink); }),
              std::string("[monarch_pipelines] ") + what +
                  " came out as NaN or infinity, because the weights do: element 5 of " + name +
                  " in the " + part + "; download the file again (monarch verify " +
                  broken.string() + " lists everything)");
    EXPECT_TRUE(sink.all.empty());
  }
}

TEST_F(TinySystem, NamesWhatIsMissing) {
  const fs::path empty = fresh_folder("empty");
  EXPECT_EQ(message_of([&] { WanSystem{empty}; }),
            "[monarch_pipelines] " + empty.string() +
                " lacks config.json, diffusion_pytorch_model*.safetensors, models_t5_umt5-*.pth or "
                ".safetensors, Wan2.1_VAE.pth or .safetensors, google/umt5-*/spiece.model; is the "
                "download complete?");
  EXPECT_EQ(
      message_of([] { WanSystem{"/nowhere"}; }),
      "[monarch_models] there is no model folder /nowhere; download one like Wan2.1-T2V-1.3B and "
      "give its folder");

  const fs::path broken = fresh_folder("broken");
  write_tiny_system(broken);
  std::ofstream(broken / "diffusion_pytorch_model.safetensors.index.json")
      << R"({"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "diffusion_pytorch_model.safetensors"}})";
  EXPECT_EQ(
      message_of([&] { WanSystem{broken}; }),
      "[monarch_io] " + broken.string() +
          " lacks these files of its index: diffusion_pytorch_model-00001-of-00002.safetensors; "
          "download them again");
  fs::remove(broken / "diffusion_pytorch_model.safetensors.index.json");
  fs::remove(broken / "text_encoder_config.json");
  EXPECT_EQ(message_of([&] { WanSystem{broken}; }),
            "[monarch_pipelines] the text encoder of " + broken.string() +
                " gives 4096 values a token, its transformer takes 16; set dim in "
                "text_encoder_config.json or text_dim in "
                "config.json");
  std::ofstream(broken / "text_encoder_config.json")
      << "{\"dim\": 16, \"num_heads\": 2, \"dim_attn\": 16}";
  fs::remove(broken / "vae_config.json");
  EXPECT_EQ(message_of([&] { WanSystem{broken}; }),
            "[monarch_pipelines] the VAE of " + broken.string() +
                " has 16 latent channels, its transformer 4; set z_dim in vae_config.json or "
                "out_dim in config.json");
  std::ofstream(broken / "config.json") << "[1]";
  EXPECT_EQ(message_of([&] { WanSystem{broken}; }),
            "[monarch_models] " + (broken / "config.json").string() + " is not a JSON object");
}

}  // namespace
}  // namespace monarch::pipelines
