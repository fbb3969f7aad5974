// One HTTP connection: reads a request, checks it, writes the answer, and again. A WebSocket or an
// answer without end goes on in a connection of its own.
#include "monarch/serving/http_connection.h"

#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

class HttpConnection final : public Connection,
                             public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(ServerContext& context, tcp::socket socket)
      : context_(context), stream_(std::move(socket)) {
    error_code ignored;
    address_ = stream_.socket().remote_endpoint(ignored).address().to_string();
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    crowded_ =
        context.connections.size() >= static_cast<std::size_t>(context.limits.max_connections);
    context.enter(this);
  }

  ~HttpConnection() override { context_.leave(this); }

  void start() {
    if (!crowded_) return read();
    keep_alive_ = false;
    refuse({503, "too many connections; try again later", std::chrono::seconds(5)});
  }

  void finish() override {
    keep_alive_ = false;
    if (reading_) stream_.cancel();
  }

 private:
  void read() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(context_.limits.header_bytes));
    parser_->body_limit(context_.limits.body_bytes);
    stream_.expires_after(context_.limits.request_timeout);
    reading_ = true;
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code error, std::size_t) {
                       self->reading_ = false;
                       self->on_read(error);
                     });
  }

  void on_read(error_code error) {
    if (error == http::error::header_limit)
      return refuse_and_close({431, "the headers are too long"});
    if (error == http::error::body_limit) return refuse_and_close({413, "the body is too long"});
    // Whatever else is wrong: a client that left, or one that speaks no HTTP.
    const bool spoke =
        error.category() == http::make_error_code(http::error::bad_method).category();
    if (error == http::error::end_of_stream || (error && !spoke)) return close();
    if (error) return refuse_and_close({400, "this is not an HTTP/1.1 request"});
    try {
      handle();
    } catch (...) {
      refuse(translate_exception());
    }
  }

  std::string header(http::field name) const {
    const auto& fields = parser_->get();
    if (fields.count(name) > 1) {
      throw HttpError(400, std::string(http::to_string(name)) + " is given more than once");
    }
    const auto found = fields.find(name);
    return found == fields.end() ? std::string() : std::string(found->value());
  }

  void check_access(const HttpRequest& request) const {
    const std::string host = header(http::field::host);
    context_.access.check_host(host);
    const bool has_origin = parser_->get().count(http::field::origin) > 0;
    const std::string origin = header(http::field::origin);
    Access::check_origin(has_origin ? std::optional<std::string_view>(origin) : std::nullopt, host);
    if (request.path == "/health") return;  // says nothing that needs hiding
    const auto token = request.query.find("token");
    context_.access.check_token(header(http::field::authorization), header(http::field::cookie),
                                token == request.query.end() ? "" : token->second);
  }

  void handle() {
    keep_alive_ = parser_->get().keep_alive() && !context_.stopping;
    context_.count_request(address_);
    HttpRequest request;
    request.method = std::string(parser_->get().method_string());
    head_ = request.method == "HEAD";
    if (head_) request.method = "GET";
    parse_target(std::string_view(parser_->get().target().data(), parser_->get().target().size()),
                 request);
    check_access(request);
    request.range = header(http::field::range);
    if (beast::websocket::is_upgrade(parser_->get())) {
      const ConnectViewer connect = context_.endpoint.accept_websocket(request);
      context_.endpoint.answered(101);
      start_websocket(context_, std::move(stream_), parser_->release(), connect);
      return;
    }
    request.body = std::move(parser_->get().body());
    HttpResponse response = context_.endpoint.answer(request);
    remember_token(request, response);
    if (response.stream) {
      auto head = message(response);
      head.keep_alive(false);
      start_stream(context_, std::move(stream_), std::move(head), response.stream);
      return;
    }
    write(std::move(response));
  }

  // The page was opened with ?token=: its later requests carry a cookie instead.
  void remember_token(const HttpRequest& request, HttpResponse& response) const {
    const auto token = request.query.find("token");
    if (!context_.access.needs_token() || token == request.query.end()) return;
    response.headers.emplace_back("Set-Cookie", "monarch_token=" + context_.access.options().token +
                                                    "; HttpOnly; SameSite=Strict; Path=/");
  }

  void refuse_and_close(const HttpError& error) {
    keep_alive_ = false;
    refuse(error);
  }

  void refuse(const HttpError& error) {
    HttpResponse response{.status = error.status(),
                          .body = error_body(error.status(), error.what())};
    if (error.retry_after()) {
      response.headers.emplace_back("Retry-After", std::to_string(error.retry_after()->count()));
    }
    if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
    write(std::move(response));
  }

  static http::response<http::string_body> message(HttpResponse& response) {
    http::response<http::string_body> result;
    result.result(static_cast<unsigned>(response.status));
    result.reason(std::string(status_text(response.status)));
    result.set(http::field::content_type, response.content_type);
    result.set("X-Content-Type-Options", "nosniff");
    result.set("X-Frame-Options", "DENY");
    result.set("Referrer-Policy", "no-referrer");
    result.set(http::field::cache_control, "no-store");
    result.set("Content-Security-Policy",
               "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
               "frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    for (const auto& [name, value] : response.headers) result.set(name, value);
    return result;
  }

  void write(HttpResponse response) {
    context_.endpoint.answered(response.status);
    response_ = message(response);
    response_.keep_alive(keep_alive_);
    if (response.file.file) return send_file(std::move(response.file));
    response_.content_length(response.body.size());
    if (!head_ && response.status != 204) response_.body() = std::move(response.body);
    serializer_.emplace(response_);
    serializer_->split(head_);
    write_some();
  }

  // Piece by piece: the time limit is one of progress, however long the answer.
  void write_some() {
    stream_.expires_after(context_.limits.stall_timeout);
    const auto next = [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->close();
      const bool done =
          self->serializer_->is_done() || (self->head_ && self->serializer_->is_header_done());
      if (!done) return self->write_some();
      self->end_answer();
    };
    http::async_write_some(stream_, *serializer_, next);
  }

  void send_file(FileBody file) {
    response_.content_length(file.size);
    file_ = std::move(file);
    if (head_) file_.size = 0;
    serializer_.emplace(response_);
    stream_.expires_after(context_.limits.stall_timeout);
    http::async_write_header(stream_, *serializer_,
                             [self = shared_from_this()](error_code error, std::size_t) {
                               if (error) return self->close();
                               self->send_file_piece();
                             });
  }

  void send_file_piece() {
    if (file_.size == 0) return end_answer();
    constexpr std::uint64_t kPieceBytes = 64 << 10;
    piece_.resize(std::min(kPieceBytes, file_.size));
    file_.file->read(piece_.data(), static_cast<std::streamsize>(piece_.size()));
    if (!*file_.file) return close();  // the client sees that bytes are missing
    file_.size -= piece_.size();
    stream_.expires_after(context_.limits.stall_timeout);
    boost::asio::async_write(stream_, boost::asio::buffer(piece_),
                             [self = shared_from_this()](error_code error, std::size_t) {
                               if (error) return self->close();
                               self->send_file_piece();
                             });
  }

  void end_answer() {
    head_ = false;
    file_ = {};
    piece_.clear();
    if (!keep_alive_) return close();
    read();
  }

  void close() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
  }

  ServerContext& context_;
  beast::tcp_stream stream_;
  std::string address_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  FileBody file_;
  std::string piece_;
  bool crowded_ = false;
  bool keep_alive_ = false;
  bool head_ = false;
  bool reading_ = false;
};

}  // namespace

void ServerContext::count_request(const std::string& address) {
  const auto now = TokenBucket::Clock::now();
  if (requests_.size() > 1000) {
    std::erase_if(requests_, [&](const auto& entry) { return entry.second.full(now); });
  }
  const auto [entry, added] =
      requests_.try_emplace(address, limits.requests_per_second, limits.request_burst, now);
  if (!entry->second.take(now)) {
    throw HttpError(429, "too many requests; slow down", entry->second.wait(now));
  }
}

void start_http(ServerContext& context, tcp::socket socket) {
  std::make_shared<HttpConnection>(context, std::move(socket))->start();
}

}  // namespace monarch::serving
