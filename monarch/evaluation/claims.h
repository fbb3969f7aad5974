// What measured errors say about the papers' claims.
#pragma once

#include <string>
#include <vector>

#include "monarch/evaluation/comparison.h"

namespace monarch::evaluation {

// A statement of the papers and what one source's numbers say of it.
struct Claim {
  std::string source, statement;
  std::string verdict;   // "holds", "holds in part", "no difference", "does not hold", "not seen"
  std::string evidence;  // the numbers, in a sentence
};

// Each claim that the source's methods can test, in pairs of settings: it holds if all pairs agree
// by more than 1 % of the error, in part if some do; there is no difference if none does and none
// disagrees either. The first frame must carry 25 % more of the error than its share of the
// queries. "not seen": there is no error to make smaller.
std::vector<Claim> check_claims(const SourceResult& result);

void to_json(Json& json, const Claim& claim);

}  // namespace monarch::evaluation
