#include "monarch/models/wan/attention_rules.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <string_view>
#include <system_error>

#include "monarch/base/error.h"
#include "monarch/models/wan/config.h"

namespace monarch::models {
namespace {

// The number at the start of `text`, which is cut off; -1 if there is none.
int64_t take_number(std::string_view& text) {
  int32_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

std::pair<int64_t, int64_t> parse_range(const Json& json, const std::string& where) {
  const std::string given = json.is_string() ? json.get<std::string>() : json.dump();
  std::string_view rest = given;
  const int64_t first = take_number(rest);
  int64_t last = first;
  if (rest.starts_with('-')) {
    rest.remove_prefix(1);
    last = take_number(rest);
  }
  MONARCH_CHECK(
      (json.is_string() || json.is_number_integer()) && first >= 0 && first <= last && rest.empty(),
      "[config] ", where, " names ", json.dump(),
      "; write numbers from 0 on, ranges like 0-4, or a list of them");
  return {first, last};
}

HeadAttention preset_of(const WanConfig& config) {
  if (config.monarch.enable) return {.kind = AttentionKind::kMonarch, .monarch = config.monarch};
  if (config.vmonarch) return {.kind = AttentionKind::kVMonarch, .vmonarch = *config.vmonarch};
  return {};
}

std::string tiling_string(const ops::MonarchOptions& options) {
  return str_cat("f_tied ", options.f_tied, ", h_reduce ", options.h_reduce, ", w_reduce ",
                 options.w_reduce);
}

// Numbers at which a choice can change, 0 included: one of each stretch stands for all of it.
std::vector<int64_t> edges_of(const WanConfig& config, IndexSet AttentionRule::*member) {
  std::vector<int64_t> edges{0};
  for (const AttentionRule& rule : config.attention) (rule.*member).add_edges(edges);
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  return edges;
}

void check_largest(const IndexSet& set, const char* what, int64_t count, size_t rule) {
  MONARCH_CHECK(set.largest() < count, "[config] attention[", rule, "] names ", what, ' ',
                set.largest(), "; the model has ", count, ", numbered from 0");
}

}  // namespace

bool same_tiling(const ops::MonarchOptions& a, const ops::MonarchOptions& b) {
  return a.f_tied == b.f_tied && a.h_reduce == b.h_reduce && a.w_reduce == b.w_reduce;
}

IndexSet IndexSet::from_json(const Json& json, const std::string& where) {
  IndexSet set;
  if (json.is_array()) {
    MONARCH_CHECK(!json.empty(), "[config] ", where,
                  " is an empty list; leave the key out for all");
    for (const Json& item : json) set.ranges_.push_back(parse_range(item, where));
  } else {
    set.ranges_.push_back(parse_range(json, where));
  }
  return set;
}

bool IndexSet::contains(int64_t index) const {
  return all() || std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
           return range.first <= index && index <= range.second;
         });
}

int64_t IndexSet::largest() const {
  int64_t largest = -1;
  for (const auto& [first, last] : ranges_) largest = std::max(largest, last);
  return largest;
}

void IndexSet::add_edges(std::vector<int64_t>& edges) const {
  for (const auto& [first, last] : ranges_) {
    edges.push_back(first);
    edges.push_back(last + 1);
  }
}

std::string IndexSet::text() const {
  std::string text;
  for (const auto& [first, last] : ranges_) {
    text += (text.empty() ? "" : ", ") + std::to_string(first);
    if (last > first) text += "-" + std::to_string(last);
  }
  return text;
}

std::string describe(const AttentionRule& rule) {
  std::string where;
  for (const auto& [name, set] : {std::pair{"layers", &rule.layers},
                                  {"heads", &rule.heads},
                                  {"steps", &rule.steps},
                                  {"chunks", &rule.chunks}}) {
    if (!set->all()) where += str_cat(where.empty() ? "" : ", ", name, ' ', set->text());
  }
  const HeadAttention& attention = rule.attention;
  const std::string what = attention.kind == AttentionKind::kDense ? "dense"
                           : attention.kind == AttentionKind::kVMonarch
                               ? str_cat("vmonarch, ", attention.vmonarch.num_iters, " iterations")
                               : str_cat("monarchrt, ", tiling_string(attention.monarch),
                                         ", num_iters ", attention.monarch.num_iters);
  return (where.empty() ? "everything" : where) + ": " + what;
}

AttentionRule AttentionRule::from_json(const Json& json, const std::string& where) {
  MONARCH_CHECK(json.is_object() && json.contains("preset") && json.at("preset").is_string(),
                "[config] ", where,
                " must be a mapping with a preset (dense, monarchrt or vmonarch)");
  AttentionRule rule;
  Json own = json;  // what remains are the preset's keys
  own.erase("preset");
  for (const auto& [key, set] : {std::pair{"layers", &rule.layers},
                                 {"heads", &rule.heads},
                                 {"steps", &rule.steps},
                                 {"chunks", &rule.chunks}}) {
    if (!json.contains(key)) continue;
    *set = IndexSet::from_json(json.at(key), where + "." + key);
    own.erase(key);
  }
  const std::string preset = json.at("preset").get<std::string>();
  if (preset == "monarchrt") {
    rule.attention = {.kind = AttentionKind::kMonarch,
                      .monarch = ops::MonarchOptions::from_json(own, where)};
    rule.attention.monarch.enable = true;
  } else if (preset == "vmonarch") {
    rule.attention = {.kind = AttentionKind::kVMonarch,
                      .vmonarch = ops::VMonarchOptions::from_json(own, where)};
  } else {
    MONARCH_CHECK(preset == "dense", "[config] ", where, ".preset is '", preset,
                  "'; use dense, monarchrt or vmonarch");
    OptionsReader reader(json, where);
    for (const char* key : {"preset", "layers", "heads", "steps", "chunks"}) reader.accept(key);
    reader.finish();
  }
  return rule;
}

std::vector<AttentionRule> attention_rules_from_json(const Json& json, const std::string& where) {
  std::vector<AttentionRule> rules;
  if (json.is_object()) return {AttentionRule::from_json(json, where)};
  MONARCH_CHECK(json.is_array(), "[config] ", where, " must be a list of rules");
  for (size_t i = 0; i < json.size(); ++i)
    rules.push_back(AttentionRule::from_json(json[i], str_cat(where, '[', i, ']')));
  return rules;
}

bool choose_by_step(const std::vector<AttentionRule>& rules) {
  return std::any_of(rules.begin(), rules.end(),
                     [](const AttentionRule& rule) { return !rule.steps.all(); });
}

bool choose_by_chunk(const std::vector<AttentionRule>& rules) {
  return std::any_of(rules.begin(), rules.end(),
                     [](const AttentionRule& rule) { return !rule.chunks.all(); });
}

std::vector<HeadGroup> head_groups(const WanConfig& config, int64_t layer,
                                   const AttentionPosition& position) {
  std::vector<HeadGroup> groups;
  for (int64_t head = 0; head < config.num_heads; ++head) {
    HeadAttention attention = preset_of(config);
    for (const AttentionRule& rule : config.attention) {
      if (!rule.layers.contains(layer) || !rule.heads.contains(head) ||
          !rule.chunks.contains(position.chunk))
        continue;
      MONARCH_CHECK(rule.steps.all() || position.step >= 0,
                    "[monarch_models] the attention rules choose by denoising step, and this pass "
                    "is none; leave out `steps` to train");
      if (rule.steps.contains(position.step)) attention = rule.attention;
    }
    if (!groups.empty() && groups.back().attention == attention) {
      ++groups.back().count;
    } else {
      groups.push_back({.first = head, .count = 1, .attention = attention});
    }
  }
  return groups;
}

ops::MonarchOptions cache_tiling(const WanConfig& config, int64_t layer, int64_t chunk) {
  std::optional<ops::MonarchOptions> tiling;
  for (const int64_t step : edges_of(config, &AttentionRule::steps)) {
    for (const HeadGroup& group : head_groups(config, layer, {.step = step, .chunk = chunk})) {
      MONARCH_CHECK(group.attention.kind != AttentionKind::kVMonarch,
                    "[monarch_models] vmonarch factorises the whole video at once and cannot run "
                    "causally; use monarchrt or dense attention");
      if (group.attention.kind == AttentionKind::kDense) continue;
      const ops::MonarchOptions& wanted = group.attention.monarch;
      MONARCH_CHECK(!tiling || same_tiling(*tiling, wanted), "[monarch_models] layer ", layer,
                    " would keep its KV cache in two block orders in chunk ", chunk, ": ",
                    tiling_string(tiling.value_or(wanted)), " and ", tiling_string(wanted),
                    "; give the heads and steps of a layer one tiling (or dense attention), or "
                    "change it between chunks");
      tiling = wanted;
    }
  }
  ops::MonarchOptions order;
  if (tiling) {
    order.f_tied = tiling->f_tied;
    order.h_reduce = tiling->h_reduce;
    order.w_reduce = tiling->w_reduce;
  }
  return order;
}

void validate_rules(const WanConfig& config) {
  for (size_t i = 0; i < config.attention.size(); ++i) {
    check_largest(config.attention[i].layers, "layer", config.num_layers, i);
    check_largest(config.attention[i].heads, "head", config.num_heads, i);
  }
}

int64_t chunk_of_frame(const WanConfig& config, int64_t frame) {
  const int64_t single = config.independent_first_frame ? 1 : 0;
  return frame < single ? 0 : single + (frame - single) / config.num_frame_per_block;
}

int64_t tied_frames(const WanConfig& config) {
  int64_t frames = 1;
  for (const int64_t chunk : edges_of(config, &AttentionRule::chunks)) {
    for (int64_t layer = 0; layer < config.num_layers; ++layer)
      frames = std::lcm(frames, cache_tiling(config, layer, chunk).f_tied);
  }
  return frames;
}

void validate_causal_rules(const WanConfig& config) {
  const int64_t frames = tied_frames(config);
  MONARCH_CHECK(config.sink_size % frames == 0, "[monarch_models] sink_size ", config.sink_size,
                " would cut blocks of ", frames, " frames (f_tied); use a multiple");
}

void check_no_chunk_rules(const WanConfig& config) {
  for (size_t i = 0; i < config.attention.size(); ++i) {
    MONARCH_CHECK(config.attention[i].chunks.all(), "[monarch_models] attention[", i,
                  "] chooses by chunk, and this pass takes a whole video at once; leave out "
                  "`chunks`");
  }
}

}  // namespace monarch::models
