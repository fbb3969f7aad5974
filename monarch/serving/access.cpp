#include "monarch/serving/access.h"

#include <arpa/inet.h>

#include <algorithm>

#include "monarch/io/text.h"
#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

constexpr std::size_t kMinTokenLength = 16;
constexpr std::string_view kCookieName = "monarch_token";

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view cookie_value(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const std::size_t end = std::min(cookies.find(';'), cookies.size());
    std::string_view pair = cookies.substr(0, end);
    cookies.remove_prefix(std::min(end + 1, cookies.size()));
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace

bool is_ip_address(std::string_view name) {
  const std::string text(name);
  in6_addr buffer{};
  return inet_pton(AF_INET, text.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &buffer) == 1;
}

bool is_loopback(std::string_view address) {
  return is_ip_address(address) && (address.starts_with("127.") || address == "::1");
}

HostName parse_host(std::string_view header) {
  HostName host;
  std::string_view port;
  bool valid = false;
  if (header.starts_with('[')) {
    const std::size_t close = header.find(']');
    if (close != std::string_view::npos) {
      host.name = lower(header.substr(1, close - 1));
      port = header.substr(close + 1);
      valid = is_ip_address(host.name) && host.name.find(':') != std::string::npos;
    }
  } else {
    const std::size_t colon = std::min(header.find(':'), header.size());
    host.name = lower(header.substr(0, colon));
    port = header.substr(colon);
    valid = !host.name.empty() && host.name.size() <= 253 &&
            std::ranges::all_of(host.name, is_name_character);
  }
  if (!port.empty()) {
    host.port = std::string(port.substr(1));
    valid = valid && port.front() == ':' && is_port(host.port);
  }
  if (!valid) {
    throw HttpError(400, "the Host header " + io::quote(header) + " is not a name or IP address");
  }
  return host;
}

Access::Access(AccessOptions options) : options_(std::move(options)) {
  MONARCH_CHECK(is_ip_address(options_.address), "[monarch_serving] cannot listen on ",
                io::quote(options_.address),
                ": it is not an IP address; use 127.0.0.1 for this machine alone, 0.0.0.0 for all "
                "its networks");
  MONARCH_CHECK(needs_token() || is_loopback(options_.address), "[monarch_serving] listening on ",
                options_.address,
                " lets other machines connect, so a token is needed; give one of at least ",
                kMinTokenLength, " characters, or listen on 127.0.0.1");
  if (needs_token()) {
    MONARCH_CHECK(options_.token.size() >= kMinTokenLength, "[monarch_serving] the token has ",
                  options_.token.size(), " characters; at least ", kMinTokenLength, " are needed");
    MONARCH_CHECK(std::ranges::all_of(options_.token,
                                      [](char c) {
                                        return c > ' ' && c <= '~' && c != ';' && c != ',' &&
                                               c != '"' && c != '&' && c != '%' && c != '+' &&
                                               c != '\\' && c != '#';
                                      }),
                  "[monarch_serving] the token has characters that do not fit into a header or an "
                  "address; use letters and digits");
  }
  for (std::string& host : options_.hosts) host = lower(host);
}

void Access::check_host(std::string_view host) const {
  const std::string name = parse_host(host).name;
  if (is_ip_address(name) || name == "localhost") return;
  if (std::ranges::find(options_.hosts, name) != options_.hosts.end()) return;
  throw HttpError(421, "this server does not answer to the name " + io::quote(name) +
                           "; it has to be started with that host allowed");
}

void Access::check_origin(std::optional<std::string_view> origin, std::string_view host) {
  if (!origin) return;
  const std::size_t scheme = origin->find("://");
  if (scheme != std::string_view::npos &&
      (origin->starts_with("http://") || origin->starts_with("https://")) &&
      lower(origin->substr(scheme + 3)) == lower(host)) {
    return;
  }
  throw HttpError(403, "pages of " + io::quote(*origin) + " may not use this server");
}

// Takes the same time wherever the first difference is.
bool Access::matches(std::string_view given) const {
  const std::string& token = options_.token;
  unsigned difference = given.size() == token.size() ? 0U : 1U;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const char c = i < given.size() ? given[i] : '\0';
    difference |= static_cast<unsigned char>(c) ^ static_cast<unsigned char>(token[i]);
  }
  return difference == 0;
}

void Access::check_token(std::string_view authorization, std::string_view cookie,
                         std::string_view query_token) const {
  if (!needs_token()) return;
  constexpr std::string_view kBearer = "bearer ";
  if (authorization.size() > kBearer.size() &&
      lower(authorization.substr(0, kBearer.size())) == kBearer &&
      matches(authorization.substr(kBearer.size()))) {
    return;
  }
  if (matches(cookie_value(cookie, kCookieName)) || matches(query_token)) return;
  throw HttpError(401,
                  "this server needs its token: send 'Authorization: Bearer TOKEN', or open the "
                  "page with ?token=TOKEN");
}

}  // namespace monarch::serving
