// HttpServer of a build without Boost.
#include "monarch/base/error.h"
#include "monarch/serving/http_server.h"

namespace monarch::serving {

class HttpServer::Impl {};

bool has_http_server() { return false; }

HttpServer::HttpServer(Endpoint& /*endpoint*/, const ServerOptions& /*options*/) {
  fail(
      ErrorCode::kUnsupported,
      "[monarch_serving] this build cannot serve: it was built without Boost; install libboost-dev "
      "and build again");
}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const { return 0; }
void HttpServer::run() {}
void HttpServer::stop() {}

}  // namespace monarch::serving
