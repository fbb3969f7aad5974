// The seam between the transport (http_server.h) and what is served: no socket on one side, no
// video on the other.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace monarch::serving {

struct HttpRequest {
  std::string method = {};                        // "GET"
  std::string path = {};                          // without the query, percent signs decoded
  std::map<std::string, std::string> query = {};  // decoded
  std::string range = {};                         // the Range header, or empty
  std::string body = {};
};

// The way to one viewer. Thread-safe; nothing blocks.
class Channel {
 public:
  using Clock = std::chrono::steady_clock;
  virtual ~Channel() = default;

  // Queues a message (`text`: a WebSocket's text frame), sent not before `due`. False if the viewer
  // is gone, or just has been dropped because its queue is full.
  virtual bool send(std::string bytes, bool text, Clock::time_point due = {}) = 0;
  virtual std::size_t queued_bytes() const = 0;
  // Ends the connection once the queue is sent.
  virtual void close() = 0;
};

// The other end of a channel. Called by the transport's thread, so nothing here may take long.
class Viewer {
 public:
  virtual ~Viewer() = default;
  virtual void received(std::string_view text) = 0;  // a WebSocket's text frame
  virtual void drained() = 0;                        // the queue got shorter
  virtual void closed() = 0;                         // exactly once, and nothing after it
};

using ConnectViewer = std::function<std::shared_ptr<Viewer>(std::shared_ptr<Channel>)>;

// Bytes of an open file, from where it stands.
struct FileBody {
  std::shared_ptr<std::istream> file = {};
  std::uint64_t size = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  FileBody file = {};         // or, read piece by piece as the client takes it, a file
  ConnectViewer stream = {};  // or whatever is sent until the channel closes
};

// Called by the transport's thread. Throws HttpError (others become a 500).
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual HttpResponse answer(const HttpRequest& request) = 0;
  // A WebSocket at request.path.
  virtual ConnectViewer accept_websocket(const HttpRequest& request) = 0;
  // A request was answered, or refused by the transport itself.
  virtual void answered(int status) = 0;
};

// Path and query of a request target ("/a%20b?x=1"). Throws HttpError(400): not beginning with '/',
// bad escapes, control characters.
void parse_target(std::string_view target, HttpRequest& request);

}  // namespace monarch::serving
