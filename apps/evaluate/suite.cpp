#include "apps/evaluate/suite.h"

#include <algorithm>
#include <optional>

#include "apps/shipped.h"
#include "monarch/base/error.h"
#include "monarch/io/yaml.h"
#include "monarch/pipelines/run_options.h"

namespace monarch::apps {
namespace {

namespace fs = std::filesystem;

// What an entry says.
struct EntryKeys {
  std::string name, about, model, config, checkpoint, against;
  bool use_ema = false;
  Json settings = Json::object();
};

EntryKeys read_entry(const Json& json, const std::string& where) {
  EntryKeys keys;
  OptionsReader reader(json, where);
  reader.read("name", keys.name);
  reader.read("about", keys.about);
  reader.read("model", keys.model);
  reader.read("config", keys.config);
  reader.read("checkpoint", keys.checkpoint);
  reader.read("use_ema", keys.use_ema);
  reader.read("against", keys.against);
  reader.read("settings", keys.settings);
  reader.finish();
  MONARCH_CHECK(!keys.name.empty(), "[config] ", where, " has no name");
  MONARCH_CHECK(
      !keys.model.empty() || !keys.config.empty(), "[config] ", where,
      " names no model; give the folder of one (model) or a run's configuration (config)");
  return keys;
}

// The model that the run's configuration was made for, unless the entry names one.
std::string model_of(const EntryKeys& keys) {
  if (!keys.model.empty()) return keys.model;
  const Json config = pipelines::read_run_config(keys.config);
  MONARCH_CHECK(config.contains("model_kwargs") && config["model_kwargs"].contains("model_name"),
                "[config] ", keys.config,
                " names no model (model_kwargs.model_name); give the entry one");
  return config["model_kwargs"]["model_name"].get<std::string>();
}

SuiteEntry make_entry(const EntryKeys& keys, const Json& common, const std::string& where) {
  SuiteEntry entry{.name = keys.name, .about = keys.about, .reference = keys.against};
  const std::string model = shipped_path(model_of(keys));
  for (const std::string& needed : {model, keys.checkpoint}) {
    if (needed.empty() || fs::exists(needed)) continue;
    entry.missing = needed;
    return entry;
  }
  entry.model = model;
  entry.system.generator_checkpoint = keys.checkpoint;
  entry.system.generator_weights =
      keys.use_ema ? models::GeneratorWeights::kAveraged : models::GeneratorWeights::kRaw;
  entry.options = pipelines::run_options(model, keys.config);
  entry.options.apply(common, where + " (settings)");
  entry.options.apply(keys.settings, where + " (settings of " + keys.name + ")");
  entry.options.validate();
  return entry;
}

void check_sizes(const std::vector<SuiteEntry>& entries) {
  const SuiteEntry* first = nullptr;
  const auto size = [](const SuiteEntry& entry) {
    return str_cat(entry.options.num_frames, " frames of ", entry.options.width, 'x',
                   entry.options.height);
  };
  for (const SuiteEntry& entry : entries) {
    if (!entry.missing.empty()) continue;
    if (first == nullptr) first = &entry;
    MONARCH_CHECK(size(entry) == size(*first), "[evaluate] '", entry.name, "' makes ", size(entry),
                  ", '", first->name, "' ", size(*first),
                  "; all must be the same size for captions and noises to be so: set width, height "
                  "and num_frames under settings");
  }
}

}  // namespace

std::vector<SuiteEntry> read_suite(const fs::path& file) {
  const Json suite = io::read_yaml(file);
  std::string baseline;
  Json common = Json::object(), list = Json::array();
  OptionsReader reader(suite, file.string());
  reader.read("baseline", baseline);
  reader.read("settings", common);
  reader.read("entries", list);
  reader.finish();
  MONARCH_CHECK(list.is_array() && !list.empty(), "[config] ", file.string(),
                " has no entries; list at least one model under entries");
  std::vector<SuiteEntry> entries;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = str_cat(file.string(), ".entries[", i, "]");
    const EntryKeys keys = read_entry(list[i], where);
    const auto same = [&](const SuiteEntry& entry) { return entry.name == keys.name; };
    MONARCH_CHECK(std::none_of(entries.begin(), entries.end(), same), "[config] ", where,
                  " has the name '", keys.name, "' of an earlier entry");
    entries.push_back(make_entry(keys, common, file.string()));
  }
  if (!baseline.empty()) {
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const SuiteEntry& entry) {
      return entry.name == baseline;
    });
    MONARCH_CHECK(found != entries.end(), "[config] ", file.string(), " has the baseline '",
                  baseline, "', which is none of its entries");
    std::rotate(entries.begin(), found, found + 1);
  }
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (entry->reference.empty() && entry != entries.begin()) entry->reference = baseline;
    if (entry->reference.empty()) continue;
    const auto reference = std::find_if(entries.begin(), entry, [&](const SuiteEntry& one) {
      return one.name == entry->reference;
    });
    MONARCH_CHECK(reference != entry, "[config] '", entry->name, "' in ", file.string(),
                  " is against '", entry->reference,
                  "', which is no entry before it (the baseline comes first)");
    if (entry->missing.empty() && !reference->missing.empty()) entry->missing = reference->missing;
  }
  check_sizes(entries);
  return entries;
}

}  // namespace monarch::apps
