// One WebSocket: text frames go to its viewer, the outbox goes to the client.
#include "monarch/serving/http_connection.h"
#include "monarch/serving/http_error.h"
#include "monarch/serving/live_protocol.h"

namespace monarch::serving {
namespace {

using boost::system::error_code;
namespace websocket = beast::websocket;

class WebSocketConnection final : public Connection,
                                  public std::enable_shared_from_this<WebSocketConnection> {
 public:
  WebSocketConnection(ServerContext& context, beast::tcp_stream stream)
      : context_(context),
        socket_(std::move(stream)),
        messages_(context.limits.messages_per_second, context.limits.message_burst,
                  TokenBucket::Clock::now()) {
    context.enter(this);
  }

  ~WebSocketConnection() override {
    end();
    context_.leave(this);
  }

  void start(const http::request<http::string_body>& request, const ConnectViewer& connect) {
    // The tcp_stream's own timer would end what the WebSocket's timer watches over.
    beast::get_lowest_layer(socket_).expires_never();
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = context_.limits.request_timeout;
    timeout.idle_timeout = context_.limits.stall_timeout;
    timeout.keep_alive_pings = true;
    socket_.set_option(timeout);
    socket_.read_message_max(context_.limits.message_bytes);
    socket_.async_accept(request, [self = shared_from_this(), connect](error_code error) {
      if (!error) self->open(connect);
    });
  }

  void finish() override {
    if (outbox_ == nullptr) return;
    outbox_->send(end_message("the server stops"), true);
    outbox_->close();
  }

 private:
  void open(const ConnectViewer& connect) {
    outbox_ = std::make_shared<Outbox>(context_.limits.send_queue_bytes,
                                       [&io = context_.io, weak = weak_from_this()] {
                                         boost::asio::post(io, [weak] {
                                           if (const auto self = weak.lock()) self->pump();
                                         });
                                       });
    try {
      viewer_ = connect(outbox_);
    } catch (...) {
      const HttpError error = translate_exception();
      outbox_->send(error_message(error.status(), error.what()), true);
      outbox_->close();
    }
    if (context_.stopping) outbox_->close();
    read();
  }

  void read() {
    socket_.async_read(buffer_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return self->end();
      self->on_message();
    });
  }

  void on_message() {
    const bool allowed = messages_.take(TokenBucket::Clock::now());
    if (!allowed || !socket_.got_text()) {
      if (outbox_ != nullptr) {
        outbox_->send(allowed
                          ? error_message(400, "binary messages are not understood; send JSON text")
                          : error_message(429, "too many messages"),
                      true);
        outbox_->close();
      }
    } else if (viewer_) {
      const auto bytes = buffer_.data();
      try {
        viewer_->received({static_cast<const char*>(bytes.data()), bytes.size()});
      } catch (...) {
        const HttpError error = translate_exception();
        outbox_->send(error_message(error.status(), error.what()), true);
      }
    }
    buffer_.consume(buffer_.size());
    read();
  }

  void pump() {
    if (outbox_ == nullptr || ended_) return;
    const Outbox::State state = outbox_->state();
    if (state == Outbox::State::kOverflow) return abort();  // even while a write does not move
    if (writing_) return;
    const Outbox::Message* message = outbox_->front();
    if (message == nullptr) {
      if (state == Outbox::State::kClosing) close();
      return;
    }
    writing_ = true;
    socket_.text(message->text);
    socket_.async_write(boost::asio::buffer(message->bytes),
                        [self = shared_from_this()](error_code error, std::size_t) {
                          self->writing_ = false;
                          if (error || self->ended_) return self->end();
                          self->outbox_->pop();
                          if (self->viewer_) self->viewer_->drained();
                          self->pump();
                        });
  }

  void close() {
    writing_ = true;  // nothing may follow the close frame
    socket_.async_close(websocket::close_code::going_away, [self = shared_from_this()](error_code) {
      self->writing_ = false;
      self->end();
    });
  }

  void abort() {
    error_code ignored;
    beast::get_lowest_layer(socket_).socket().close(ignored);
    end();
  }

  void end() {
    ended_ = true;
    if (viewer_) std::exchange(viewer_, nullptr)->closed();
    // The message that is being written lives in the outbox until its handler has run.
    if (outbox_ == nullptr || writing_) return;
    outbox_->detach();
    outbox_ = nullptr;
  }

  ServerContext& context_;
  websocket::stream<beast::tcp_stream> socket_;
  TokenBucket messages_;
  beast::flat_buffer buffer_;
  std::shared_ptr<Outbox> outbox_;
  std::shared_ptr<Viewer> viewer_;
  bool writing_ = false;
  bool ended_ = false;
};

}  // namespace

void start_websocket(ServerContext& context, beast::tcp_stream stream,
                     const http::request<http::string_body>& request,
                     const ConnectViewer& connect) {
  std::make_shared<WebSocketConnection>(context, std::move(stream))->start(request, connect);
}

}  // namespace monarch::serving
