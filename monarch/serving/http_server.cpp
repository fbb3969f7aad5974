#include "monarch/serving/http_server.h"

#include "monarch/base/log.h"
#include "monarch/serving/http_connection.h"

namespace monarch::serving {

using boost::asio::ip::tcp;

bool has_http_server() { return true; }

class HttpServer::Impl : public ServerContext {
 public:
  Impl(Endpoint& endpoint, const ServerOptions& options)
      : ServerContext(endpoint, options), acceptor_(io), grace_(io) {
    on_empty = [this] {
      if (stopping) grace_.cancel();
    };
    const auto address = boost::asio::ip::make_address(access.options().address);
    const tcp::endpoint where(address, options.port);
    boost::system::error_code error;
    acceptor_.open(where.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(where, error);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    MONARCH_CHECK_CODE(!error, kIo, "[monarch_serving] cannot listen on ", address.to_string(), ':',
                       options.port, ": ", error.message(),
                       "; choose another port or address, or end the program that uses it");
    port_ = acceptor_.local_endpoint().port();
  }

  ~Impl() { on_empty = nullptr; }

  std::uint16_t port() const { return port_; }

  void run() {
    accept();
    io.run();
  }

  void stop() {
    boost::asio::post(io, [this] {
      if (stopping) return;
      stopping = true;
      boost::system::error_code ignored;
      acceptor_.close(ignored);
      grace_.expires_after(limits.stall_timeout);
      grace_.async_wait([this](boost::system::error_code error) {
        if (!error) io.stop();
      });
      // A connection that ends at once leaves the set while it is walked.
      const std::vector<Connection*> open(connections.begin(), connections.end());
      for (Connection* connection : open) connection->finish();
      if (connections.empty()) grace_.cancel();
    });
  }

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (stopping) return;
      if (!error) {
        start_http(*this, std::move(socket));
        accept();
        return;
      }
      // No descriptors left, for instance: breathe, then go on.
      log_warning("cannot accept a connection: ", error.message());
      grace_.expires_after(std::chrono::milliseconds(200));
      grace_.async_wait([this](boost::system::error_code) {
        if (!stopping) accept();
      });
    });
  }

  tcp::acceptor acceptor_;
  boost::asio::steady_timer grace_;
  std::uint16_t port_ = 0;
};

HttpServer::HttpServer(Endpoint& endpoint, const ServerOptions& options)
    : impl_(std::make_unique<Impl>(endpoint, options)) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const { return impl_->port(); }
void HttpServer::run() { impl_->run(); }
void HttpServer::stop() { impl_->stop(); }

}  // namespace monarch::serving
