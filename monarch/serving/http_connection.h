// Inside of http_server.h: what connections share. Only the server's thread runs what is here.
#pragma once

#include <utility>  // before Asio 1.74, which forgets it

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "monarch/serving/http_server.h"
#include "monarch/serving/outbox.h"

namespace monarch::serving {

namespace beast = boost::beast;
namespace http = boost::beast::http;

class Connection {
 public:
  virtual ~Connection() = default;
  virtual void finish() = 0;  // the server stops: end as soon as what is under way is done
};

class ServerContext {
 public:
  ServerContext(Endpoint& served, const ServerOptions& options)
      : endpoint(served), access(options.access), limits(options.limits) {}

  // Throws HttpError(429).
  void count_request(const std::string& address);
  void enter(Connection* connection) { connections.insert(connection); }
  void leave(Connection* connection) {
    connections.erase(connection);
    if (connections.empty() && on_empty) on_empty();
  }

  Endpoint& endpoint;
  const Access access;
  const Limits limits;
  std::set<Connection*> connections;
  std::function<void()> on_empty;
  bool stopping = false;
  boost::asio::io_context io{1};  // the last to be made: its end destroys connections

 private:
  std::map<std::string, TokenBucket> requests_;  // by address
};

void start_http(ServerContext& context, boost::asio::ip::tcp::socket socket);
// Goes on with the answer that begins with `head`.
void start_stream(ServerContext& context, beast::tcp_stream stream,
                  http::response<http::string_body> head, const ConnectViewer& connect);
void start_websocket(ServerContext& context, beast::tcp_stream stream,
                     const http::request<http::string_body>& request, const ConnectViewer& connect);

}  // namespace monarch::serving
