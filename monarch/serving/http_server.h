// HTTP/1.1 and WebSocket on one port and one thread (Boost.Beast). Checks access and limits, and
// leaves the rest to an Endpoint. TLS is the business of a reverse proxy (docs/serving.md).
#pragma once

#include <cstdint>
#include <memory>

#include "monarch/serving/access.h"
#include "monarch/serving/endpoint.h"
#include "monarch/serving/limits.h"

namespace monarch::serving {

struct ServerOptions {
  AccessOptions access = {};
  std::uint16_t port = 8080;  // 0: one that is free
  Limits limits = {};
};

bool has_http_server();  // whether this build can serve (needs Boost)

class HttpServer {
 public:
  // Listens from now on. The endpoint must outlive the server. Throws kInvalidArgument (access
  // rules), kIo (port taken, address of another machine), kUnsupported (built without Boost).
  HttpServer(Endpoint& endpoint, const ServerOptions& options);
  ~HttpServer();

  std::uint16_t port() const;
  // Answers until stop(); then open answers get `limits.stall_timeout` to end.
  void run();
  // From any thread; several times if you like.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monarch::serving
