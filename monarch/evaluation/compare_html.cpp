#include "monarch/evaluation/compare_html.h"

#include <algorithm>
#include <ostream>
#include <sstream>

#include "monarch/evaluation/compare_plot.h"

namespace monarch::evaluation {
namespace {

// Values of `key`, each once, in the order of their first occurrence.
std::vector<std::string> distinct(const Json& rows, const char* key) {
  std::vector<std::string> values;
  for (const Json& row : rows) {
    const auto value = row[key].get<std::string>();
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  return values;
}

std::string chip(const Json& claim) {
  const auto verdict = claim["verdict"].get<std::string>();
  const char* kind = verdict == "holds"           ? "yes"
                     : verdict == "holds in part" ? "part"
                     : verdict == "does not hold" ? "no"
                                                  : "none";
  return std::string("<span class=\"chip ") + kind + "\">" + escape_html(verdict) + "</span>";
}

}  // namespace

const char* const kCompareStyle = R"(<style>
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #57606a; --rule: #d8dee4;
  --yes: #1a7f37; --part: #9a6700; --no: #c0212d;
  --series-0: #0b62c4; --series-1: #8a3ffc; --series-2: #1b1f24; --series-3: #00838f;
  --series-4: #b25e00; --series-5: #c2185b; --series-6: #2e7d32; --series-7: #0b62c4;
  --series-8: #8a3ffc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9aa4af;
  --rule: #2b323b; --yes: #3fb950; --part: #d29922; --no: #ff7b72;
  --series-0: #58a6ff; --series-1: #c297ff; --series-2: #e6edf3; --series-3: #39c5cf;
  --series-4: #f0a146; --series-5: #ff7eb0; --series-6: #56d364; --series-7: #58a6ff;
  --series-8: #c297ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: 1.25rem; }
h3 { font-size: 14px; margin: 1.5rem 0 .5rem; }
.soft { color: var(--soft); } .soft, .about { max-width: 46rem; }
.scroll, .plot { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.first { min-width: 10rem; position: sticky; left: 0; background: var(--paper); }
.chip { white-space: nowrap; font-weight: 600; } .chip.none { color: var(--soft); font-weight: 400; }
.chip.yes { color: var(--yes); } .chip.part { color: var(--part); } .chip.no { color: var(--no); }
.chip.yes::before { content: "\2713\00a0"; } .chip.part::before { content: "\25D0\00a0"; }
.chip.no::before { content: "\2717\00a0"; } .chip.none::before { content: "\2013\00a0"; }
dl { font-size: 13px; } dt { margin-top: .6rem; } dd { margin: 0 0 0 1.2rem; color: var(--soft); }
summary { cursor: pointer; margin: 1rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 500px), 1fr)); gap: 1rem; }
.plot svg { width: 100%; min-width: 480px; height: auto; color: var(--ink); }
svg text { fill: currentColor; font-size: 12px; } svg .title { font-size: 14px; font-weight: 600; }
svg .grid { stroke: var(--rule); fill: none; } svg .mark { stroke: var(--ink); stroke-width: 2.5; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: 13px; margin: .5rem 0; }
.legend svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: .35em; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1rem; }
.maps figure { margin: 0; }
.maps img { width: 100%; border: 1px solid var(--rule); image-rendering: pixelated; }
figcaption { font-size: 12px; line-height: 1.35; }
</style>
)";

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j)
      word = (word << 8) | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j > bytes.size() ? '=' : kDigits[(word >> (18 - 6 * j)) & 63];
  }
  return out;
}

std::string fixed_digits(double value, int digits) {
  std::ostringstream out;
  out.setf(std::ios::fixed);
  out.precision(digits);
  out << value;
  return out.str();
}

std::string html_text(const Json& json, const char* key) {
  return escape_html(json.value(key, std::string()));
}

void write_table(std::ostream& out, const Json& rows, const std::vector<HtmlColumn>& columns) {
  out << "<div class=\"scroll\"><table><tr>";
  for (const HtmlColumn& column : columns)
    out << (column.digits < 0 ? "<th>" : "<th class=\"n\">") << column.title << "</th>";
  out << "</tr>\n";
  for (const Json& row : rows) {
    out << "<tr>";
    for (const HtmlColumn& column : columns) {
      if (column.digits < 0) {
        out << "<td>" << html_text(row, column.key) << "</td>";
        continue;
      }
      out << "<td class=\"n\">";
      if (row.contains(column.key) && row[column.key].is_number())
        out << fixed_digits(column.factor * row[column.key].get<double>(), column.digits);
      out << "</td>";
    }
    out << "</tr>\n";
  }
  out << "</table></div>\n";
}

void write_claims(std::ostream& out, const Json& claims) {
  const std::vector<std::string> statements = distinct(claims, "statement");
  const std::vector<std::string> sources = distinct(claims, "source");
  out << "<div class=\"scroll\"><table><tr><th></th>";
  for (const std::string& source : sources) out << "<th>" << escape_html(source) << "</th>";
  out << "</tr>\n";
  std::ostringstream numbers;
  for (const std::string& statement : statements) {
    out << "<tr><td class=\"first\">" << escape_html(statement) << "</td>";
    numbers << "<h3>" << escape_html(statement) << "</h3>\n<dl>";
    for (const std::string& source : sources) {
      out << "<td>";
      for (const Json& claim : claims) {
        if (claim["statement"] != statement || claim["source"] != source) continue;
        out << chip(claim);
        numbers << "<dt>" << escape_html(source) << ": " << chip(claim) << "</dt><dd>"
                << html_text(claim, "evidence") << "</dd>\n";
      }
      out << "</td>";
    }
    out << "</tr>\n";
    numbers << "</dl>\n";
  }
  out << "</table></div>\n<details><summary>The numbers behind each verdict</summary>\n"
      << numbers.str() << "</details>\n";
}

}  // namespace monarch::evaluation
