#include "monarch/models/wan/verify.h"

#include "monarch/base/error.h"
#include "monarch/io/finite.h"
#include "monarch/models/wan/config.h"
#include "monarch/models/wan/dit_weights.h"
#include "monarch/models/wan/tokenizer.h"
#include "monarch/models/wan/umt5.h"
#include "monarch/models/wan/vae.h"
#include "monarch/models/wan/wan_names.h"

namespace monarch::models {
namespace {

void check_values(const io::TensorEntry& tensor, PartReport& report, const VerifyOptions& options) {
  if (options.progress && !options.progress(report.part, tensor.name)) {
    fail(ErrorCode::kCancelled, "[monarch_models] the check of ", report.part, " was stopped");
  }
  if (const auto index = io::first_non_finite(tensor)) {
    report.problems.push_back(
        str_cat(tensor.name, " holds an infinity or NaN at element ", *index));
  }
}

// Runs `check` and turns its error into a problem of the report.
template <typename Check>
void guarded(PartReport& report, Check check) {
  try {
    check();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
    report.problems.emplace_back(error.what());
  }
}

template <typename Open, typename Shapes>
PartReport verify_part(const std::string& part, const std::filesystem::path& path, Open open,
                       Shapes shapes, const VerifyOptions& options) {
  PartReport report;
  report.part = part;
  report.path = path.string();
  if (path.empty()) {
    report.problems.emplace_back("the folder has no such part");
    return report;
  }
  guarded(report, [&] {
    report = verify_weights(part, *open(), shapes(), options);
    report.path = path.string();
  });
  return report;
}

}  // namespace

PartReport verify_weights(const std::string& part, const io::Checkpoint& checkpoint,
                          const ShapeMap& expected, const VerifyOptions& options) {
  PartReport report;
  report.part = part;
  std::vector<std::string> stored;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) stored.push_back(tensor.name);
  const auto names = wan_names(stored);
  std::set<std::string> seen;
  for (const io::TensorEntry& tensor : checkpoint.tensors()) {
    const std::string& name = names.at(tensor.name);
    if (name.empty()) continue;
    seen.insert(name);
    ++report.num_tensors;
    report.num_parameters += tensor.num_elements();
    ++report.dtypes[std::string(dtype_name(tensor.dtype))];
    const auto wanted = expected.find(name);
    if (wanted == expected.end()) {
      report.problems.push_back(str_cat(tensor.name, " is not part of this model"));
      continue;
    }
    if (wanted->second != tensor.shape) {
      report.problems.push_back(str_cat(tensor.name, " has the shape ", shape_string(tensor.shape),
                                        ", expected ", shape_string(wanted->second)));
    }
    if (!is_floating(tensor.dtype)) {
      report.problems.push_back(
          str_cat(tensor.name, " is ", dtype_name(tensor.dtype), ", expected a floating type"));
    } else if (!options.names_only) {
      check_values(tensor, report, options);
    }
  }
  for (const auto& [name, shape] : expected) {
    if (!seen.contains(name)) {
      report.problems.push_back(str_cat(name, " ", shape_string(shape), " is missing"));
    }
  }
  if (!options.names_only) guarded(report, [&] { checkpoint.check_integrity(); });
  return report;
}

std::vector<PartReport> verify_model(const ModelFolder& model, const VerifyOptions& options) {
  std::vector<PartReport> reports;
  reports.push_back(verify_part(
      "transformer", model.transformer, [&] { return model.open_transformer(); },
      [&] { return dit_parameter_shapes(WanConfig::from_json(model.transformer_config)); },
      options));
  reports.push_back(verify_part(
      "vae", model.vae, [&] { return io::open_checkpoint(model.vae); },
      [&] { return parameter_shapes(VaeConfig::from_json(model.vae_config)); }, options));
  const auto text_shapes = [&] {
    return parameter_shapes(Umt5Config::from_json(model.text_config));
  };
  reports.push_back(verify_part(
      "text_encoder", model.text_encoder, [&] { return io::open_checkpoint(model.text_encoder); },
      text_shapes, options));

  PartReport tokenizer;
  tokenizer.part = "tokenizer";
  tokenizer.path = model.tokenizer.string();
  if (model.tokenizer.empty()) {
    tokenizer.problems.emplace_back("the folder has no such part");
  } else {
    guarded(tokenizer, [&] {
      const Tokenizer loaded(model.tokenizer, 16);
      const std::vector<std::string> prompt = {"a red circle"};
      loaded.encode(prompt);
    });
  }
  reports.push_back(std::move(tokenizer));
  return reports;
}

}  // namespace monarch::models
