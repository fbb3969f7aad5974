// The server with a test engine, for tests from outside (browser, load, kill).
//
//   test_server VIDEO_FOLDER              prints its address; ends when standard input does
//   test_server check FILE COLOUR FRAMES  whether a video of the engine is whole: so many frames of
//                                         that colour ("any": not looked at), the bar moving on
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "monarch/io/video.h"
#include "monarch/serving/http_server.h"
#include "monarch/serving/service.h"
#include "tests/serving/moving_engine.h"

namespace monarch::serving {
namespace {

int serve(const char* folder) {
  MovingEngine engine;
  ServerOptions options;
  options.port = 0;
  Service service(engine, options.limits, folder);
  HttpServer server(service, options);
  std::thread end([&server] {
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    server.stop();
  });
  std::cout << "serving at http://127.0.0.1:" << server.port() << std::endl;
  server.run();
  end.join();
  return 0;
}

int check(const char* file, const std::string& colour, std::size_t num_frames) {
  const io::Video video = io::read_video(file);
  if (video.frames.size() != num_frames) {
    std::cerr << video.frames.size() << " frames instead of " << num_frames << '\n';
    return 1;
  }
  if (colour == "any") return 0;
  for (std::size_t t = 0; t < num_frames; ++t) {
    const std::string problem = MovingEngine::what_is_wrong(video.frames[t], colour, t);
    if (problem.empty()) continue;
    std::cerr << "frame " << t << ": " << problem << '\n';
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace monarch::serving

int main(int argc, char** argv) {
  if (argc == 2) return monarch::serving::serve(argv[1]);
  if (argc == 5 && std::string(argv[1]) == "check") {
    return monarch::serving::check(argv[2], argv[3], std::strtoull(argv[4], nullptr, 10));
  }
  std::cerr << "usage: test_server VIDEO_FOLDER | test_server check FILE COLOUR FRAMES\n";
  return 2;
}
