// Parity cases: a stored fixture (inputs, parameters, expected results) replayed by our
// implementation of its op.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "monarch/io/parity_case.h"

namespace monarch::apps {

// What a runner reads. Tensors are contiguous CPU tensors in the file's dtype, sharing nothing with
// the file.
class ParityInput {
 public:
  ParityInput(const io::ParityCase& parity_case, std::filesystem::path file)
      : case_(parity_case), file_(std::move(file)) {}

  const std::string& op() const { return case_.op; }
  const Json& config() const { return case_.config; }
  const std::filesystem::path& file() const {
    return file_;
  }  // for ops that read files beside the case

  bool has(const std::string& name) const;           // full name: "input.q", "expect.out"
  at::Tensor tensor(const std::string& name) const;  // full name; an error if absent
  at::Tensor input(const std::string& name) const { return tensor("input." + name); }
  // Every tensor whose name starts with `prefix`, with the prefix removed; e.g. "param.".
  std::map<std::string, at::Tensor> with_prefix(const std::string& prefix) const;

 private:
  const io::ParityCase& case_;
  std::filesystem::path file_;
};

// What a runner computed, by full name ("expect.out", "grad.q"). Every expect.* and grad.* tensor
// of the file must be here unless the op's README marks it as skippable.
using ParityOutput = std::map<std::string, at::Tensor>;

using ParityRunner = ParityOutput (*)(const ParityInput&);

// By op name. Each group of ops lives in a file of its own and is listed in registry.cpp.
const std::map<std::string, ParityRunner>& parity_runners();

// True for intermediates that a case may carry but an implementation that never materialises them
// may leave out.
bool is_skippable(const std::string& op, const std::string& tensor_name);

// Replays every case below `folder`; prints a line a file, what attention ran on, and the closing
// line. Returns the number of failures; an empty folder counts as one.
int run_parity(const std::filesystem::path& folder, std::ostream& out);

}  // namespace monarch::apps
