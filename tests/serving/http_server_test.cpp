#include "monarch/serving/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <sstream>
#include <thread>

#include "monarch/serving/http_error.h"
#include "tests/serving/client.h"

namespace monarch::serving {
namespace {

// Sends back what it receives; remembers when it was left.
class EchoViewer final : public Viewer {
 public:
  EchoViewer(std::shared_ptr<Channel> channel, std::promise<void>* left)
      : channel_(std::move(channel)), left_(left) {}
  void received(std::string_view text) override {
    if (text == "flood") {
      while (channel_->send(std::string(100'000, 'x'), false)) {
      }
    } else if (text == "throw") {
      throw std::runtime_error("secret /path");
    } else if (text == "bye") {
      channel_->send("farewell", true);
      channel_->close();
    } else {
      channel_->send("echo " + std::string(text), true);
    }
  }
  void drained() override {}
  void closed() override { left_->set_value(); }

 private:
  std::shared_ptr<Channel> channel_;
  std::promise<void>* left_;
};

class EchoEndpoint final : public Endpoint {
 public:
  HttpResponse answer(const HttpRequest& request) override {
    if (request.path == "/fail") throw std::runtime_error("secret /path");
    if (request.path == "/mistake") throw HttpError(404, "no such thing");
    if (request.path == "/large") return {.body = std::string(5'000'000, 'x')};
    if (request.path == "/file" || request.path == "/short-file") {
      const auto file = std::make_shared<std::stringstream>(std::string(300'000, 'f'));
      return {.file = {file, request.path == "/file" ? 300'000U : 300'001U}};
    }
    if (request.path == "/stream") {
      return {.content_type = "text/plain",
              .stream = [this](const std::shared_ptr<Channel>& channel) {
                channel->send("one ", false);
                channel->send("two", false, Channel::Clock::now() + std::chrono::milliseconds(1));
                channel->close();
                return std::make_shared<EchoViewer>(channel, &left);
              }};
    }
    if (request.path == "/full-stream") {
      return {.stream = [](const std::shared_ptr<Channel>&) -> std::shared_ptr<Viewer> {
        throw HttpError(429, "no place left");
      }};
    }
    return {.content_type = "text/plain",
            .body = request.method + ' ' + request.path + ' ' + request.range + request.body};
  }
  ConnectViewer accept_websocket(const HttpRequest& request) override {
    if (request.path != "/live") throw HttpError(404, "no such stream");
    return [this](std::shared_ptr<Channel> channel) {
      return std::make_shared<EchoViewer>(std::move(channel), &left);
    };
  }
  void answered(int status) override { last_status = status; }

  std::promise<void> left;
  std::atomic<int> last_status = 0;
};

class RunningServer {
 public:
  explicit RunningServer(ServerOptions options = {}) {
    options.port = 0;
    server_ = std::make_unique<HttpServer>(endpoint, options);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~RunningServer() { stop(); }
  void stop() {
    server_->stop();
    if (thread_.joinable()) thread_.join();
  }
  std::uint16_t port() const { return server_->port(); }

  EchoEndpoint endpoint;

 private:
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST(HttpServer, AnswersSeveralRequestsOnOneConnection) {
  RunningServer server;
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/a%20b").body, "GET /a b ");
  EXPECT_EQ(client.request("POST", "/x", "body").body, "POST /x body");
  const Answer head = client.request("HEAD", "/x");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.headers.at("Content-Length"), "7");
  EXPECT_EQ(client.request("GET", "/", "", {{"Range", "bytes=0-1"}}).body, "GET / bytes=0-1");
  const Answer large = client.request("GET", "/large");
  EXPECT_EQ(large.body.size(), 5'000'000U);
  EXPECT_EQ(large.headers.at("X-Content-Type-Options"), "nosniff");
}

TEST(HttpServer, TellsOnlyTheCallersMistakes) {
  RunningServer server;
  TestClient client(server.port());
  const Answer mistake = client.request("GET", "/mistake");
  EXPECT_EQ(mistake.status, 404);
  EXPECT_NE(mistake.body.find("no such thing"), std::string::npos);
  const Answer failure = client.request("GET", "/fail");
  EXPECT_EQ(failure.status, 500);
  EXPECT_EQ(failure.body.find("secret"), std::string::npos);
  EXPECT_EQ(server.endpoint.last_status, 500);
  EXPECT_EQ(client.request("GET", "/still-there").status, 200);
}

TEST(HttpServer, ChecksHostOriginAndToken) {
  ServerOptions options;
  options.access.token = "0123456789abcdef";
  RunningServer server(options);
  TestClient client(server.port());
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  const Answer refused = client.request("GET", "/");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("WWW-Authenticate"), "Bearer");
  const TestClient::Headers token{{"Authorization", "Bearer 0123456789abcdef"}};
  EXPECT_EQ(client.request("GET", "/", "", token).status, 200);
  const Answer page = client.request("GET", "/?token=0123456789abcdef");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.headers.at("Set-Cookie").find("HttpOnly; SameSite=Strict"), std::string::npos);
  EXPECT_EQ(client.request("GET", "/health", "", {{"Host", "evil.example"}}).status, 421);
  EXPECT_EQ(client.request("GET", "/health", "", {{"Origin", "http://evil.example"}}).status, 403);
  EXPECT_EQ(TestClient(server.port()).raw("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(TestClient(server.port())
                .raw("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
                .status,
            400);
}

TEST(HttpServer, RefusesWhatIsTooMuch) {
  ServerOptions options;
  options.limits.header_bytes = 1000;
  options.limits.body_bytes = 1000;
  options.limits.request_burst = 6;
  options.limits.requests_per_second = 0.001;
  RunningServer server(options);
  EXPECT_EQ(
      TestClient(server.port()).request("GET", "/", "", {{"X", std::string(2000, 'x')}}).status,
      431);
  TestClient client(server.port());
  EXPECT_EQ(client.request("POST", "/", std::string(2000, 'x')).status, 413);
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(TestClient(server.port()).raw("nonsense\r\n\r\n").status, 400);
  TestClient one(server.port());
  for (int i = 0; i < 6; ++i) EXPECT_EQ(one.request("GET", "/").status, 200);
  const Answer limited = one.request("GET", "/");
  EXPECT_EQ(limited.status, 429);
  EXPECT_GT(std::stoi(limited.headers.at("Retry-After")), 1);
}

TEST(HttpServer, HoldsALimitedNumberOfConnections) {
  ServerOptions options;
  options.limits.max_connections = 2;
  RunningServer server(options);
  TestClient one(server.port());
  EXPECT_EQ(one.request("GET", "/").status, 200);
  TestClient two(server.port());
  EXPECT_EQ(two.request("GET", "/").status, 200);
  EXPECT_EQ(TestClient(server.port()).raw("").status, 503);
  EXPECT_EQ(two.request("GET", "/").status, 200);
}

TEST(HttpServer, SendsFilesPieceByPiece) {
  RunningServer server;
  TestClient client(server.port());
  const Answer head = client.request("HEAD", "/file");
  EXPECT_EQ(head.headers.at("Content-Length"), "300000");
  EXPECT_TRUE(head.body.empty());
  EXPECT_EQ(client.request("GET", "/file").body, std::string(300'000, 'f'));
  EXPECT_EQ(client.request("GET", "/a").status, 200);  // the connection is still good
  // A file that got shorter: the client sees that something is missing.
  EXPECT_THROW(client.request("GET", "/short-file"), boost::system::system_error);
}

TEST(HttpServer, EchoesOverAWebSocket) {
  RunningServer server;
  TestWebSocket socket(server.port(), "/live");
  socket.send("one");
  EXPECT_EQ(socket.receive(), "echo one");
  socket.send("throw");
  const std::string error = socket.receive();
  EXPECT_NE(error.find("\"code\":500"), std::string::npos);
  EXPECT_EQ(error.find("secret"), std::string::npos);
  socket.send("two");
  EXPECT_EQ(socket.receive(), "echo two");
  socket.send("bye");
  EXPECT_EQ(socket.receive(), "farewell");
  EXPECT_TRUE(socket.closed());
  server.endpoint.left.get_future().wait();
}

TEST(HttpServer, RefusesWebSocketsOfOtherPagesAndPaths) {
  RunningServer server;
  EXPECT_THROW(TestWebSocket(server.port(), "/live", "http://evil.example"),
               boost::system::system_error);
  EXPECT_THROW(TestWebSocket(server.port(), "/other"), boost::system::system_error);
}

TEST(HttpServer, ClosesWebSocketsThatMisbehave) {
  ServerOptions options;
  options.limits.message_bytes = 1000;
  options.limits.messages_per_second = 0.001;
  options.limits.message_burst = 2;
  {
    RunningServer server(options);
    TestWebSocket socket(server.port(), "/live");
    socket.send(std::string(2000, 'x'));
    EXPECT_TRUE(socket.closed());
    server.endpoint.left.get_future().wait();
  }
  {
    RunningServer server(options);
    TestWebSocket socket(server.port(), "/live");
    socket.send_binary("x");
    EXPECT_NE(socket.receive().find("binary"), std::string::npos);
    EXPECT_TRUE(socket.closed());
  }
  {
    RunningServer server(options);
    TestWebSocket socket(server.port(), "/live");
    for (int i = 0; i < 3; ++i) socket.send("x");
    EXPECT_EQ(socket.receive(), "echo x");
    EXPECT_EQ(socket.receive(), "echo x");
    EXPECT_NE(socket.receive().find("too many messages"), std::string::npos);
    EXPECT_TRUE(socket.closed());
  }
}

// The viewer is dropped when its queue is full; others notice nothing.
TEST(HttpServer, DropsAViewerThatTakesTooLittleAlone) {
  ServerOptions options;
  options.limits.send_queue_bytes = 1'000'000;
  RunningServer server(options);
  TestClient other(server.port());
  TestWebSocket socket(server.port(), "/live");
  socket.send("flood");
  server.endpoint.left.get_future().wait();
  EXPECT_EQ(other.request("GET", "/").status, 200);
}

TEST(HttpServer, NoticesThatAViewerWent) {
  RunningServer server;
  {
    TestWebSocket socket(server.port(), "/live");
    socket.send("x");
    socket.receive();
  }
  server.endpoint.left.get_future().wait();
}

TEST(HttpServer, StreamsABodyUntilItsChannelCloses) {
  RunningServer server;
  TestClient client(server.port());
  const Answer answer = client.request("GET", "/stream");
  EXPECT_EQ(answer.body, "one two");
  EXPECT_EQ(answer.headers.at("Content-Type"), "text/plain");
  server.endpoint.left.get_future().wait();
}

TEST(HttpServer, SaysWhyThereIsNoStream) {
  RunningServer server;
  TestClient client(server.port());
  const Answer answer = client.request("GET", "/full-stream");
  EXPECT_EQ(answer.status, 429);
  EXPECT_NE(answer.body.find("no place left"), std::string::npos);
  EXPECT_EQ(server.endpoint.last_status, 429);
}

TEST(HttpServer, StopsWithOpenConnections) {
  RunningServer server;
  TestClient idle(server.port());
  EXPECT_EQ(idle.request("GET", "/").status, 200);
  TestWebSocket socket(server.port(), "/live");
  socket.send("x");
  EXPECT_EQ(socket.receive(), "echo x");
  std::thread reader([&] { EXPECT_TRUE(socket.closed()); });
  server.stop();
  reader.join();
  EXPECT_TRUE(idle.closed());
  server.endpoint.left.get_future().wait();
}

TEST(HttpServer, SaysWhyItCannotListen) {
  EchoEndpoint endpoint;
  const HttpServer first(endpoint, {.port = 0});
  try {
    const HttpServer second(endpoint, {.port = first.port()});
    FAIL() << "two servers on one port";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("choose another port"), std::string::npos);
  }
}

}  // namespace
}  // namespace monarch::serving
