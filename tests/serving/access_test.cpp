#include "monarch/serving/access.h"

#include <gtest/gtest.h>

#include "tests/serving/refusal.h"

namespace monarch::serving {
namespace {

constexpr const char* kToken = "0123456789abcdef";

std::string construction_error(AccessOptions options) {
  try {
    const Access access(std::move(options));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Access, ListensToOthersOnlyWithAToken) {
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1"})
    EXPECT_EQ(construction_error({.address = address}), "");
  for (const char* address : {"0.0.0.0", "192.168.1.2", "::"}) {
    EXPECT_NE(construction_error({.address = address}).find("a token is needed"),
              std::string::npos);
    EXPECT_EQ(construction_error({.address = address, .token = kToken}), "");
  }
}

TEST(Access, RefusesWhatIsNoAddressOrNoToken) {
  EXPECT_NE(construction_error({.address = "localhost"}).find("not an IP address"),
            std::string::npos);
  // Not the loopback network, whatever it begins with.
  EXPECT_NE(construction_error({.address = "127.evil.example"}).find("not an IP address"),
            std::string::npos);
  EXPECT_EQ(construction_error({.token = "short"}),
            "[monarch_serving] the token has 5 characters; at least 16 are needed");
  EXPECT_NE(construction_error({.token = "0123456789 abcdef"}).find("letters and digits"),
            std::string::npos);
}

TEST(Access, HostMustBeAnAddressOrAKnownName) {
  const Access access({.hosts = {"Video.Example.org"}});
  for (const char* host : {"localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "10.0.0.7",
                           "video.example.org", "VIDEO.example.org:443"})
    EXPECT_EQ(refusal_of([&] { access.check_host(host); }).status, 0) << host;
  for (const char* host : {"evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example"})
    EXPECT_EQ(refusal_of([&] { access.check_host(host); }).status, 421) << host;
  for (const char* host : {"", ":80", "a b", "localhost:", "localhost:80x", "localhost:123456",
                           "[::1", "[nonsense]:80", "[::1]80", "user@localhost", "a/b"})
    EXPECT_EQ(refusal_of([&] { access.check_host(host); }).status, 400) << host;
}

TEST(Access, OriginMustBeThisServer) {
  const auto status = [](std::optional<std::string_view> origin, std::string_view host) {
    return refusal_of([&] { Access::check_origin(origin, host); }).status;
  };
  EXPECT_EQ(status(std::nullopt, "localhost:8080"), 0);
  EXPECT_EQ(status("http://localhost:8080", "localhost:8080"), 0);
  EXPECT_EQ(status("https://LOCALHOST:8080", "localhost:8080"), 0);
  EXPECT_EQ(status("http://localhost:8081", "localhost:8080"), 403);  // another program's page
  EXPECT_EQ(status("http://localhost", "localhost:8080"), 403);
  EXPECT_EQ(status("http://evil.example", "localhost:8080"), 403);
  EXPECT_EQ(status("null", "localhost:8080"), 403);
  EXPECT_EQ(status("file://localhost:8080", "localhost:8080"), 403);
  EXPECT_EQ(status("", "localhost:8080"), 403);
}

TEST(Access, TokenComesInAHeaderACookieOrTheAddress) {
  const Access access({.address = "0.0.0.0", .token = kToken});
  const std::string token = kToken;
  const auto status = [&](const std::string& header, const std::string& cookie,
                          const std::string& query) {
    return refusal_of([&] { access.check_token(header, cookie, query); }).status;
  };
  EXPECT_EQ(status("Bearer " + token, "", ""), 0);
  EXPECT_EQ(status("bearer " + token, "", ""), 0);
  EXPECT_EQ(status("", "theme=dark; monarch_token=" + token, ""), 0);
  EXPECT_EQ(status("", "", token), 0);
  EXPECT_EQ(status("", "", ""), 401);
  EXPECT_EQ(status("Bearer", "", ""), 401);
  EXPECT_EQ(status("Basic " + token, "", ""), 401);
  EXPECT_EQ(status("Bearer " + token + "0", "", ""), 401);
  EXPECT_EQ(status("Bearer " + token.substr(1), "", ""), 401);
  EXPECT_EQ(status("", "other_monarch_token=" + token, ""), 401);
  EXPECT_EQ(status("", "monarch_token=", ""), 401);
  const Access open({});
  EXPECT_EQ(refusal_of([&] { open.check_token("", "", ""); }).status, 0);
}

}  // namespace
}  // namespace monarch::serving
