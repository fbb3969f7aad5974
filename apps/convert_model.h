// `monarch convert --config`: what a recipe trained as a model folder of its own.
#pragma once

#include <string>

namespace monarch::apps {

struct ConvertModelArguments {
  std::string config;  // of the run; empty: not asked for
  std::string model;   // whose other parts are taken; empty: the one that the configuration names
  std::string dtype;   // of all weights; empty: as stored
  bool use_ema = false;
};

// Writes a folder in the Wan layout: the generator of `checkpoint`, VAE, text encoder and tokenizer
// of the model, and a generate.yaml with the run's settings, so that `generate --model` and `serve
// --model` do what they do with --config and --checkpoint. The folder appears when it is whole.
// Throws if there is one already, or if weights and settings do not fit.
void convert_model(const std::string& checkpoint, const std::string& output,
                   const ConvertModelArguments& arguments);

}  // namespace monarch::apps
