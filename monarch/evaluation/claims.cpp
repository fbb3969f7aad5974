#include "monarch/evaluation/claims.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "monarch/base/error.h"

namespace monarch::evaluation {
namespace {

constexpr double kExact = 1e-4;       // errors below are rounding
constexpr double kDifference = 0.01;  // errors nearer to each other than this part are equal
constexpr double kSparse = 0.75;      // what the papers speak of, and more
constexpr double kShare = 0.2;        // the same for shares of an error

// Three significant digits.
std::string number(double value) {
  if (std::abs(value) < kExact) return "0";
  std::ostringstream out;
  out.precision(3);
  out << value;
  return out.str();
}

// Pairs of errors that a claim wants to be (larger, smaller).
class Pairs {
 public:
  explicit Pairs(double difference = kDifference) : difference_(difference) {}
  void add(double larger, double smaller) {
    ++seen_;
    better_ += smaller < (1 - difference_) * larger;
    worse_ += larger < (1 - difference_) * smaller;
  }
  int seen() const { return seen_; }
  int better() const { return better_; }
  std::string verdict() const {
    if (seen_ == 0) return "not seen";
    if (better_ == seen_) return "holds";
    if (better_ > 0) return "holds in part";
    return worse_ == 0 ? "no difference" : "does not hold";
  }

 private:
  double difference_;
  int seen_ = 0, better_ = 0, worse_ = 0;
};

class ClaimChecker {
 public:
  explicit ClaimChecker(const SourceResult& result) : result_(result) {}

  std::vector<Claim> check() {
    against_oracle("monarchrt");
    against_oracle("vmonarch");
    improves("Smaller blocks (h_reduce, w_reduce) bring monarchrt nearer to dense attention",
             {{"monarchrt", "1x1x1, 1 iteration", "1x2x1, 1 iteration"},
              {"monarchrt", "1x1x1, 1 iteration", "1x1x2, 1 iteration"},
              {"monarchrt", "1x1x1, 1 iteration", "1x2x2, 1 iteration"}});
    improves("More iterations bring Monarch attention nearer to dense attention",
             {{"monarchrt", "1x1x1, 1 iteration", "1x1x1, 2 iterations"},
              {"monarchrt", "1x1x1, 2 iterations", "1x1x1, 3 iterations"},
              {"vmonarch", "f,hw, 1 iteration", "f,hw, 2 iterations"},
              {"vmonarch", "f,hw, 2 iterations", "f,hw, 3 iterations"}});
    alignment();
    first_frame();
    return std::move(claims_);
  }

 private:
  struct Step {
    std::string family, from, to;
  };

  const MethodResult* find(const std::string& family, const std::string& name) const {
    for (const MethodResult& method : result_.methods) {
      if (method.family == family && method.name == name) return &method;
    }
    return nullptr;
  }

  void add(std::string statement, std::string verdict, std::string evidence) {
    claims_.push_back(
        {result_.name, std::move(statement), std::move(verdict), std::move(evidence)});
  }

  // "output error 0.3 (1x1x1, 1 iteration) against 0.2 (1x1x1, 2 iterations)"
  std::string change(const MethodResult& from, const MethodResult& to) const {
    return str_cat(result_.measure, " ", number(from.errors.output), " (", from.name, ") against ",
                   number(to.errors.output), " (", to.name, ")");
  }

  void against_oracle(const std::string& family) {
    Pairs pairs, denser;
    double best = -1, worst = 2, low = 1, high = 0;
    std::string best_text, worst_text;
    for (const MethodResult& method : result_.methods) {
      const MethodResult* oracle =
          method.family == family ? paired_oracle(result_, method) : nullptr;
      if (oracle == nullptr) continue;
      if (method.errors.sparsity < kSparse) {
        denser.add(oracle->errors.output, method.errors.output);
        continue;
      }
      pairs.add(oracle->errors.output, method.errors.output);
      low = std::min(low, method.errors.sparsity);
      high = std::max(high, method.errors.sparsity);
      // Of both errors together, so that zeros do not divide.
      const double part =
          oracle->errors.output / std::max(oracle->errors.output + method.errors.output, 1e-12);
      const std::string text = str_cat(method.name, ", ", number(100 * method.errors.sparsity),
                                       " % sparse: ", number(method.errors.output),
                                       " where the oracle has ", number(oracle->errors.output));
      if (part > best) best = part, best_text = text;
      if (part < worst) worst = part, worst_text = text;
    }
    if (pairs.seen() == 0) return;
    add(str_cat(
            family,
            " is nearer to dense attention than oracle top-k of the same sparsity, 75 % or more"),
        pairs.verdict(),
        str_cat("smaller ", result_.measure, " at ", pairs.better(), " of ", pairs.seen(),
                " settings (", number(100 * low), " to ", number(100 * high), " % sparse); best (",
                best_text, "), worst (", worst_text, ")",
                denser.seen() > 0 ? str_cat("; of less sparse settings at ", denser.better(),
                                            " of ", denser.seen())
                                  : std::string()));
  }

  void improves(const std::string& statement, const std::vector<Step>& steps) {
    Pairs pairs;
    bool tested = false;
    std::string evidence;
    for (const Step& step : steps) {
      const MethodResult* from = find(step.family, step.from);
      const MethodResult* to = find(step.family, step.to);
      if (from == nullptr || to == nullptr) continue;
      tested = true;
      if (from->errors.output < kExact) continue;
      pairs.add(from->errors.output, to->errors.output);
      evidence += str_cat(evidence.empty() ? "" : "; ", step.family, ": ", change(*from, *to));
    }
    if (tested)
      add(statement, pairs.verdict(),
          pairs.seen() > 0 ? evidence : std::string("it is exact before"));
  }

  void alignment() {
    Pairs pairs;
    std::string evidence;
    for (const MethodResult& method : result_.methods) {
      const MethodResult* aligned = nullptr;
      if (method.family == "monarchrt misaligned") {
        aligned = find("monarchrt", "1x1x1, " + method.name.substr(method.name.find(", ") + 2));
      } else if (method.family == "vmonarch misaligned") {
        aligned = find("vmonarch", "hw,f, " + method.name.substr(method.name.find(", ") + 2));
      }
      if (aligned == nullptr || std::max(aligned->errors.output, method.errors.output) < kExact)
        continue;
      pairs.add(method.errors.output, aligned->errors.output);
      evidence +=
          str_cat(evidence.empty() ? "" : "; ", aligned->family, ": ", change(method, *aligned));
    }
    if (pairs.seen() > 0)
      add("Splits aligned with frames, rows and columns are nearer to dense attention than "
          "misaligned ones with as many numbers",
          pairs.verdict(), evidence);
  }

  // Exact rows always bring a map nearer, so there the claim is that the first frame's rows carry
  // clearly more than their share of the error; of videos it is that they come nearer.
  void first_frame() {
    const MethodResult* without =
        find("vmonarch", "f,hw, 2 iterations, first frame not recomputed");
    const MethodResult* with = find("vmonarch", "f,hw, 2 iterations");
    if (without == nullptr || with == nullptr) return;
    const char* const statement = "Exact attention for the queries of the first frame matters";
    if (without->errors.output < kExact)
      return add(statement, "not seen", "vmonarch is exact without it");
    const double carried = without->errors.first_frame;
    Pairs pairs(std::isnan(carried) ? kDifference : kShare);
    std::string evidence = change(*without, *with);
    if (std::isnan(carried)) {
      pairs.add(without->errors.output, with->errors.output);
    } else {
      const double part = 1.0 / static_cast<double>(result_.grid.frames);
      pairs.add(carried, part);
      evidence =
          str_cat("without it, ", number(100 * carried), " % of the squared error are on its ",
                  number(100 * part), " % of the queries; ", evidence);
    }
    add(statement, pairs.verdict(), evidence);
  }

  const SourceResult& result_;
  std::vector<Claim> claims_;
};

}  // namespace

std::vector<Claim> check_claims(const SourceResult& result) { return ClaimChecker(result).check(); }

void to_json(Json& json, const Claim& claim) {
  json = {{"source", claim.source},
          {"statement", claim.statement},
          {"verdict", claim.verdict},
          {"evidence", claim.evidence}};
}

}  // namespace monarch::evaluation
