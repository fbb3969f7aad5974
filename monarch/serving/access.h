// Who may talk to the server: where it listens, the token, and the Host and Origin of a request.
//
// A browser sends requests that any page asks for. Origin tells which page asked; Host tells under
// which name the server was found, so that a foreign name that was pointed at this machine (DNS
// rebinding) is refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace monarch::serving {

struct AccessOptions {
  std::string address = "127.0.0.1";  // an IP address to listen on
  // Needed for every request if not empty; at least 16 visible characters.
  std::string token = {};
  // Further names under which the server is reached, without port ("video.example.org").
  std::vector<std::string> hosts = {};
};

// Name and port of a Host header: "localhost:8080", "[::1]:80". Throws HttpError(400).
struct HostName {
  std::string name = {};  // lower case, without brackets
  std::string port = {};  // may be empty
};
HostName parse_host(std::string_view header);

bool is_ip_address(std::string_view name);
// 127.0.0.0/8 and ::1.
bool is_loopback(std::string_view address);

class Access {
 public:
  // Throws kInvalidArgument: not an IP address; no token although others can connect; weak token.
  explicit Access(AccessOptions options);

  // Throws HttpError 421 unless `host` is an IP address, localhost or one of `hosts`.
  void check_host(std::string_view host) const;
  // Throws HttpError 403 if a page of another origin asked. No Origin (curl, a typed address)
  // passes.
  static void check_origin(std::optional<std::string_view> origin, std::string_view host);
  // Throws HttpError 401 unless the token is in `authorization` ("Bearer ..."), in `cookie`
  // (monarch_token=...) or is `query_token`, or none is needed.
  void check_token(std::string_view authorization, std::string_view cookie,
                   std::string_view query_token) const;

  bool needs_token() const { return !options_.token.empty(); }
  const AccessOptions& options() const { return options_; }

 private:
  bool matches(std::string_view given) const;

  AccessOptions options_;
};

}  // namespace monarch::serving
