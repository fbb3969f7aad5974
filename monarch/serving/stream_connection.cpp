// An HTTP answer without end: what a viewer's channel is given, as long as both sides stay.
#include "monarch/serving/http_connection.h"
#include "monarch/serving/http_error.h"

namespace monarch::serving {
namespace {

using boost::system::error_code;

class StreamConnection final : public Connection,
                               public std::enable_shared_from_this<StreamConnection> {
 public:
  StreamConnection(ServerContext& context, beast::tcp_stream stream,
                   http::response<http::string_body> head)
      : context_(context),
        stream_(std::move(stream)),
        due_(context.io),
        head_(std::move(head)),
        serializer_(head_) {
    context.enter(this);
  }

  ~StreamConnection() override {
    end();
    context_.leave(this);
  }

  void start(const ConnectViewer& connect) {
    // Wakes come from other threads: they hold no part of the connection, only a way to find it.
    outbox_ = std::make_shared<Outbox>(context_.limits.send_queue_bytes,
                                       [&io = context_.io, weak = weak_from_this()] {
                                         boost::asio::post(io, [weak] {
                                           if (const auto self = weak.lock()) self->pump();
                                         });
                                       });
    try {
      viewer_ = connect(outbox_);
    } catch (...) {
      refuse(translate_exception());
    }
    context_.endpoint.answered(static_cast<int>(head_.result_int()));
    stream_.expires_after(context_.limits.stall_timeout);
    writing_ = true;
    http::async_write_header(stream_, serializer_,
                             [self = shared_from_this()](error_code error, std::size_t) {
                               self->writing_ = false;
                               if (error) return self->close();
                               self->watch();
                               self->pump();
                             });
  }

  void finish() override {
    if (outbox_ != nullptr) outbox_->close();
  }

 private:
  // In the place of the answer.
  void refuse(const HttpError& error) {
    std::string body = error_body(error.status(), error.what());
    head_.result(static_cast<unsigned>(error.status()));
    head_.reason(std::string(status_text(error.status())));
    head_.set(http::field::content_type, "application/json");
    head_.content_length(body.size());
    outbox_->send(std::move(body), true);
    outbox_->close();
  }

  // A client that streams has nothing more to say; reading tells when it goes.
  void watch() {
    stream_.socket().async_read_some(boost::asio::buffer(ignored_),
                                     [self = shared_from_this()](error_code error, std::size_t) {
                                       if (error) return self->close();
                                       self->watch();
                                     });
  }

  void pump() {
    if (outbox_ == nullptr) return;
    const Outbox::State state = outbox_->state();
    if (state == Outbox::State::kOverflow) return close();  // even while a write does not move
    if (writing_) return;
    const Outbox::Message* message = outbox_->front();
    if (state != Outbox::State::kOpen && message == nullptr) return close();
    if (message == nullptr) return;
    writing_ = true;
    if (message->due > Outbox::Clock::now()) {
      due_.expires_at(message->due);
      due_.async_wait([self = shared_from_this()](error_code) {
        self->writing_ = false;
        self->pump();
      });
      return;
    }
    stream_.expires_after(context_.limits.stall_timeout);
    boost::asio::async_write(stream_, boost::asio::buffer(message->bytes),
                             [self = shared_from_this()](error_code error, std::size_t) {
                               self->writing_ = false;
                               if (error || !self->viewer_) return self->close();
                               self->stream_.expires_never();
                               self->outbox_->pop();
                               self->viewer_->drained();
                               self->pump();
                             });
  }

  void end() {
    if (outbox_ == nullptr) return;
    // The message that is being written lives in the outbox until its handler has run.
    if (!writing_) {
      outbox_->detach();
      outbox_ = nullptr;
    }
    if (viewer_) std::exchange(viewer_, nullptr)->closed();
  }

  void close() {
    error_code ignored;
    due_.cancel();
    stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
    end();
  }

  ServerContext& context_;
  beast::tcp_stream stream_;
  boost::asio::steady_timer due_;
  http::response<http::string_body> head_;
  http::response_serializer<http::string_body> serializer_;
  std::shared_ptr<Outbox> outbox_;
  std::shared_ptr<Viewer> viewer_;
  std::array<char, 512> ignored_{};
  bool writing_ = false;
};

}  // namespace

void start_stream(ServerContext& context, beast::tcp_stream stream,
                  http::response<http::string_body> head, const ConnectViewer& connect) {
  std::make_shared<StreamConnection>(context, std::move(stream), std::move(head))->start(connect);
}

}  // namespace monarch::serving
