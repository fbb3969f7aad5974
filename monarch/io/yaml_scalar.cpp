#include "monarch/io/yaml_scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>

namespace monarch::io {
namespace {

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> candidates) {
  return std::find(candidates.begin(), candidates.end(), text) != candidates.end();
}

// lower, Capitalised or UPPER: no other spelling is special in YAML.
bool is_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  const auto upper = [](char c) { return static_cast<char>(c - 'a' + 'A'); };
  const bool first_upper = text[0] == upper(lower[0]);
  if (!first_upper && text[0] != lower[0]) return false;
  const bool rest_lower = text.substr(1) == lower.substr(1);
  const bool rest_upper = std::equal(text.begin() + 1, text.end(), lower.begin() + 1,
                                     [&](char a, char b) { return a == upper(b); });
  return rest_lower || (first_upper && rest_upper);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "1_000" -> "1000"
std::string without_underscores(std::string_view text) {
  std::string out(text);
  std::erase(out, '_');
  return out;
}

// Whether all of `text` is digits of the base and underscores, at least one digit.
bool is_digits(std::string_view text, int base) {
  const auto good = [&](char c) {
    if (c == '_') return true;
    const int value = is_digit(c) ? c - '0' : (c | 0x20) >= 'a' ? (c | 0x20) - 'a' + 10 : 99;
    return value < base;
  };
  return std::all_of(text.begin(), text.end(), good) &&
         std::any_of(text.begin(), text.end(), [](char c) { return c != '_'; });
}

// The integer, a float if it does not fit into 64 bits, or a discarded value if `text` is neither.
Json integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  std::string_view digits = text;
  if (negative || text.starts_with('+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.starts_with("0b")) {
    base = 2;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
    digits.remove_prefix(1);
  }
  if (!is_digits(digits, base) || (base == 10 && digits[0] == '_')) {
    return Json(Json::value_t::discarded);
  }
  const std::string clean = without_underscores((negative ? "-" : "") + std::string(digits));
  std::int64_t value = 0;
  const auto result = std::from_chars(clean.data(), clean.data() + clean.size(), value, base);
  if (result.ec == std::errc()) return value;
  return base == 10 ? Json(std::strtod(clean.c_str(), nullptr)) : Json(Json::value_t::discarded);
}

// digits [. digits] [exponent], with a dot or an exponent and at least one digit before the
// exponent.
bool is_float(std::string_view text) {
  std::size_t at = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  std::size_t digits = 0;
  const auto skip_digits = [&] {
    for (; at < text.size() && (is_digit(text[at]) || text[at] == '_'); ++at) {
      digits += is_digit(text[at]) ? 1 : 0;
    }
  };
  if (at < text.size() && text[at] == '_') return false;
  skip_digits();
  const bool dot = at < text.size() && text[at] == '.';
  if (dot) ++at;
  skip_digits();
  if (digits == 0) return false;
  if (at == text.size()) return dot;
  if (text[at] != 'e' && text[at] != 'E') return false;
  ++at;
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  return at < text.size() &&
         std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), is_digit);
}

}  // namespace

Json plain_yaml_scalar(const std::string& text) {
  if (text.empty() || text == "~" || is_word(text, "null")) return nullptr;
  for (const std::string_view word : {"true", "yes", "on"}) {
    if (is_word(text, word)) return true;
  }
  for (const std::string_view word : {"false", "no", "off"}) {
    if (is_word(text, word)) return false;
  }
  if (Json number = integer(text); !number.is_discarded()) return number;
  if (is_float(text)) return std::strtod(without_underscores(text).c_str(), nullptr);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (is_one_of(text, {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"})) return kInfinity;
  if (is_one_of(text, {"-.inf", "-.Inf", "-.INF"})) return -kInfinity;
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) return std::numeric_limits<double>::quiet_NaN();
  return text;
}

}  // namespace monarch::io
