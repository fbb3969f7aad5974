// Pieces of HTML for the report of `monarch compare`.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "monarch/base/options_reader.h"

namespace monarch::evaluation {

extern const char* const kCompareStyle;  // a style element, for light and dark pages

std::string base64(const std::string& bytes);

// json[key], escaped; empty where there is none.
std::string html_text(const Json& json, const char* key);

std::string fixed_digits(double value, int digits);  // after the point

struct HtmlColumn {
  const char* key;
  const char* title;
  int digits = -1;  // after the point; negative: text
  double factor = 1;
};

// A row for each object; a number that is missing leaves its cell empty.
void write_table(std::ostream& out, const Json& rows, const std::vector<HtmlColumn>& columns);

// Verdicts as a table of statements by sources, and the numbers behind them to unfold.
void write_claims(std::ostream& out, const Json& claims);

}  // namespace monarch::evaluation
