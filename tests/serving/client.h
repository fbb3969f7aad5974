// A blocking HTTP and WebSocket client on the loopback, for tests.
#pragma once

#include <utility>  // before Asio 1.74, which forgets it

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cstdint>
#include <map>
#include <string>

namespace monarch::serving {

struct Answer {
  int status = 0;
  std::string body = {};
  std::map<std::string, std::string> headers = {};
};

class TestClient {
 public:
  using tcp = boost::asio::ip::tcp;
  using Headers = std::map<std::string, std::string>;

  explicit TestClient(std::uint16_t port)
      : host_("127.0.0.1:" + std::to_string(port)), socket_(io_) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), port});
  }

  Answer request(const std::string& method, const std::string& target, const std::string& body = {},
                 const Headers& headers = {}) {
    namespace http = boost::beast::http;
    http::request<http::string_body> request;
    request.version(11);
    request.method_string(method);
    request.target(target);
    request.set(http::field::host, host_);
    for (const auto& [name, value] : headers) request.set(name, value);
    request.body() = body;
    request.prepare_payload();
    http::write(socket_, request);
    return read(method == "HEAD");
  }

  Answer raw(const std::string& bytes) {
    boost::asio::write(socket_, boost::asio::buffer(bytes));
    return read(false);
  }

  // True once the server has closed the connection.
  bool closed() {
    char byte = 0;
    boost::system::error_code error;
    socket_.read_some(boost::asio::buffer(&byte, 1), error);
    return bool(error);
  }

  tcp::socket& socket() { return socket_; }

 private:
  Answer read(bool head) {
    namespace http = boost::beast::http;
    http::response_parser<http::string_body> parser;
    parser.body_limit(64 << 20);
    parser.skip(head);
    http::read(socket_, buffer_, parser);
    Answer answer{.status = static_cast<int>(parser.get().result_int()),
                  .body = parser.get().body()};
    for (const auto& field : parser.get())
      answer.headers[std::string(field.name_string())] = std::string(field.value());
    return answer;
  }

  std::string host_;
  boost::asio::io_context io_;
  tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
};

class TestWebSocket {
 public:
  TestWebSocket(std::uint16_t port, const std::string& target, const std::string& origin = {})
      : socket_(io_) {
    namespace websocket = boost::beast::websocket;
    boost::beast::get_lowest_layer(socket_).connect(
        {boost::asio::ip::make_address("127.0.0.1"), port});
    if (!origin.empty()) {
      socket_.set_option(
          websocket::stream_base::decorator([origin](websocket::request_type& request) {
            request.set(boost::beast::http::field::origin, origin);
          }));
    }
    socket_.handshake(response_, "127.0.0.1:" + std::to_string(port), target);
  }

  void send(const std::string& text) {
    socket_.text(true);
    socket_.write(boost::asio::buffer(text));
  }
  void send_binary(const std::string& bytes) {
    socket_.binary(true);
    socket_.write(boost::asio::buffer(bytes));
  }
  // The next message; throws boost::system::system_error when the server closed.
  std::string receive() {
    boost::beast::flat_buffer buffer;
    socket_.read(buffer);
    return boost::beast::buffers_to_string(buffer.data());
  }
  bool got_text() const { return socket_.got_text(); }
  bool closed() {
    try {
      while (true) receive();
    } catch (const boost::system::system_error&) {
      return true;
    }
  }
  void close() { socket_.close(boost::beast::websocket::close_code::normal); }

 private:
  boost::asio::io_context io_;
  boost::beast::websocket::stream<boost::asio::ip::tcp::socket> socket_;
  boost::beast::websocket::response_type response_;
};

}  // namespace monarch::serving
