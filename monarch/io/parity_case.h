// Parity fixtures: one safetensors file a case, with inputs, parameters and expected results.
//
// Tensors are named input.*, param.*, expect.* and grad.*; __metadata__["case"] is JSON with op,
// config, rel_l2_tolerance and, for attention, rms_floor (docs/parity.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"
#include "monarch/io/checkpoint.h"

namespace monarch::io {

struct ParityCase {  // NOLINT(bugprone-exception-escape): moving JSON throws nothing
  std::string op;
  Json config;                    // an object
  double rel_l2_tolerance = 0.0;  // 0: exact equality
  double rms_floor = 0.0;         // 0: none
  Json description;               // the whole "case" object
  std::shared_ptr<const Checkpoint> file;

  // The tensor, or kNotFound naming file and tensor.
  const TensorEntry& tensor(std::string_view name) const;
  // Full names that start with `prefix` ("expect.", "grad."), in file order.
  std::vector<std::string> names(std::string_view prefix) const;
};

// Throws kCorrupt if the metadata is missing or incomplete.
ParityCase read_parity_case(const std::filesystem::path& path);
ParityCase read_parity_case(std::shared_ptr<const Checkpoint> file, const std::string& where);

struct Comparison {
  bool passed = false;
  double error = 0.0;   // relative L2 (absolute where the expected norm is below 1e-12); count of
                        // different elements for integers and bools; infinite if not comparable
  std::string problem;  // empty if passed
};

// `got` against `want`: equal shapes; floats all finite and, in double,
//   ||got - want|| / max(||want||, rms_floor sqrt(n)) <= tolerance, or ||got - want|| <= tolerance
// where the denominator is below 1e-12; integers and bools equal.
Comparison compare(const TensorEntry& got, const TensorEntry& want, double tolerance,
                   double rms_floor = 0.0);

}  // namespace monarch::io
