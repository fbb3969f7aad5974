#include "monarch/serving/settings_reader.h"

#include <algorithm>

#include "monarch/base/suggest.h"
#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"

namespace monarch::serving {

std::uint64_t checked_seed(std::uint64_t seed) {
  if (seed > kMaxSeed) {
    throw HttpError(400, str_cat("seed is ", seed, "; 0 to ", kMaxSeed, " was expected"));
  }
  return seed;
}

const std::string& checked_attention(const std::string& attention, const ModelCard& model) {
  if (std::ranges::find(model.attentions, attention) == model.attentions.end()) {
    std::string known;
    for (const std::string& name : model.attentions) known += (known.empty() ? "" : ", ") + name;
    throw HttpError(400,
                    "attention is " + io::quote(attention, 40) + "; this model offers " + known);
  }
  return attention;
}

std::int64_t checked_steps(std::int64_t steps, const ModelCard& model, const Limits& limits) {
  check_range("steps", static_cast<double>(steps), 1,
              static_cast<double>(std::min(model.max_steps, limits.max_steps)));
  return steps;
}

StreamSettings default_settings(const ModelCard& model) {
  return {.prompt = {},
          .seed = 0,
          .attention = model.attentions.empty() ? "" : model.attentions.front(),
          .steps = model.default_steps};
}

}  // namespace monarch::serving
