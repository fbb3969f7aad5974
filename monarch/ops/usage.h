// What the attention operators ran on, and how often: nothing falls back silently.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "monarch/attention/map_size.h"
#include "monarch/base/options_reader.h"

namespace monarch::ops {

struct AttentionRuns {
  std::string op;              // "dense", "cross", "monarchrt", "vmonarch"
  std::string direction;       // "forward" or "backward"
  std::string implementation;  // a kernel's name ("cpu-avx512") or "composed": of Torch operators
  std::string reason;          // why composed; its backward is Torch's own and not counted
  int64_t count = 0;
  attention::MapSize maps;  // of forward passes: what they computed of their maps

  bool operator==(const AttentionRuns&) const = default;
};

// Since the start of the process or the last reset, sorted by all fields. Thread-safe.
std::vector<AttentionRuns> attention_runs();
void reset_attention_runs();

// One line each: "monarchrt forward: cpu-avx512, 600 times".
std::string describe(const AttentionRuns& runs);

// Self-attention's forward passes together.
attention::MapSize self_attention_maps(const std::vector<AttentionRuns>& all);

// Lets Json take AttentionRuns: {"op", "direction", "implementation", "reason", "runs"}, and
// "sparsity" of forward attention.
void to_json(Json& json, const AttentionRuns& runs);

// Adds one.
void count_attention(const std::string& op, const std::string& direction,
                     const std::string& implementation, const std::string& reason = "",
                     const attention::MapSize& maps = {});

// Keeps what its thread counts while it lives from being counted: of work that is recorded, and
// counted when it runs.
class HeldCounts {
 public:
  HeldCounts();
  ~HeldCounts();
  HeldCounts(const HeldCounts&) = delete;
  HeldCounts& operator=(const HeldCounts&) = delete;

  // One entry a call of count_attention.
  const std::vector<AttentionRuns>& runs() const { return runs_; }

 private:
  friend void count_attention(const std::string&, const std::string&, const std::string&,
                              const std::string&, const attention::MapSize&);
  std::vector<AttentionRuns> runs_;
  HeldCounts* outer_;
};

// Adds all of them.
void count_attention(const std::vector<AttentionRuns>& runs);

}  // namespace monarch::ops
