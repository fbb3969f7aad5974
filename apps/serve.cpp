// `monarch serve`: a live stream to watch and steer in a browser, and videos over HTTP.
#include <ATen/Parallel.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include "apps/command.h"
#include "apps/generate/arguments.h"
#include "apps/generate/system_options.h"
#include "apps/processes.h"
#include "monarch/base/error.h"
#include "monarch/serving/http_server.h"
#include "monarch/serving/service.h"
#include "monarch/serving/wan/shared_engine.h"
#include "monarch/serving/wan/wan_engine.h"

namespace monarch::apps {
namespace {

struct ServeArguments {
  GenerateArguments generate;
  std::string address = "127.0.0.1", token, videos = "videos";
  std::vector<std::string> hosts;
  std::uint16_t port = 8080;
  int max_viewers = serving::Limits{}.max_viewers;
  int max_queued = serving::Limits{}.max_queued_videos;
};

void add_flags(CLI::App& command, ServeArguments& a) {
  GenerateArguments& g = a.generate;
  command.add_option("--model", g.model,
                     "a folder of Wan or of diffusers (default: models/shapes_stream)");
  command.add_option("--config", g.config, "YAML settings; the originals' keys are understood");
  command.add_option("--checkpoint", g.checkpoint,
                     "a trained generator in the place of the folder's");
  command.add_flag("--use-ema", g.use_ema, "take its averaged weights");
  command.add_option("--size", g.size, "WIDTHxHEIGHT in pixels");
  command.add_option("--frames", g.frames,
                     "frames of a video, and of the past that a stream remembers");
  command.add_option("--attention", g.attention,
                     "dense, monarchrt or vmonarch, unless a viewer asks for another");
  command.add_option("--dtype", g.dtype, "f32, bf16 or f16 (default: f32, on a GPU bf16)")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  command.add_option("--device", g.device, "cpu, cuda, or cuda:N of several")
      ->capture_default_str();
  command
      .add_option(
          "--vram", g.vram,
          "memory of the GPU to use, for example 8GiB: what does not fit is freed, streamed "
          "or left to the CPU")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--threads", g.threads, "CPU threads of the model (default: all cores)");
  add_sequence_flag(command, g);
  command
      .add_option("--address", a.address, "where to listen; beyond this machine only with a token")
      ->capture_default_str();
  command.add_option("--port", a.port, "0: one that is free")->capture_default_str();
  command
      .add_option("--token", a.token,
                  "what clients must know, 16 characters or more; better in MONARCH_TOKEN")
      ->envname("MONARCH_TOKEN");
  command.add_option("--host", a.hosts, "name under which a reverse proxy offers the server");
  command.add_option("--videos", a.videos, "folder of finished videos")->capture_default_str();
  command.add_option("--max-viewers", a.max_viewers)
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_option("--max-queued", a.max_queued, "videos that may wait")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.footer(
      "Examples:\n"
      "  monarch serve                                  then open http://127.0.0.1:8080\n"
      "  MONARCH_TOKEN=$(openssl rand -hex 16) monarch serve --address 0.0.0.0\n"
      "  curl -d '{\"prompt\": \"a red circle\"}' http://127.0.0.1:8080/v1/videos");
}

// The others wait for the next viewer.
constexpr parallel::CommunicatorOptions kPatient{.answer = std::chrono::hours(24 * 365)};

// All of `group` make every video together; the first of them serves.
void serve(const ServeArguments& a, const parallel::Launch& launch,
           const std::shared_ptr<parallel::Communicator>& group) {
  MONARCH_CHECK_CODE(serving::has_http_server(), kUnsupported,
                     "[serve] this binary was built without Boost; install libboost-dev and build "
                     "again");
  if (a.generate.threads > 0) at::set_num_threads(static_cast<int>(a.generate.threads));
  pipelines::WanSystemOptions loading = system_options(a.generate, launch.local_rank);
  if (group->size() > 1) loading.sequence = group;
  pipelines::WanSystem system(resolve_model(a.generate), loading);
  const pipelines::GenerationOptions settings = resolve_options(a.generate);
  const bool endless = settings.mode() == pipelines::GenerationMode::kSelfForcing;
  limit_device_memory(system, settings, a.generate, pipelines::Course::kLive,
                      endless ? a.max_viewers : 1);
  serving::WanEngine own(system, settings);
  if (group->rank() > 0) return serving::follow(own, *group);
  std::optional<serving::SharedEngine> shared;
  if (group->size() > 1) shared.emplace(own, *group);
  serving::Engine& engine = shared ? static_cast<serving::Engine&>(*shared) : own;
  serving::ServerOptions options;
  options.access = {.address = a.address, .token = a.token, .hosts = a.hosts};
  options.port = a.port;
  options.limits.max_viewers = a.max_viewers;
  options.limits.max_queued_videos = a.max_queued;
  serving::Service service(engine, options.limits, a.videos);
  serving::HttpServer server(service, options);
  service.warm_up();
  const serving::ModelCard& card = engine.card();
  const std::string host =
      a.address.find(':') == std::string::npos ? a.address : '[' + a.address + ']';
  std::cout << "serving " << card.id << " at http://" << host << ':' << server.port() << " ("
            << card.width << 'x' << card.height << ", " << card.attentions.front() << ", "
            << (card.continuous ? "endless streams" : "one video after another")
            << "); Ctrl-C ends it" << std::endl;
  // A signal handler may only set a flag; somebody has to look at it.
  const std::jthread watcher([&server](const std::stop_token& served) {
    while (!served.stop_requested() && !interrupted())
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.stop();
  });
  server.run();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command = app.add_subcommand("serve", "live video in a browser, steered while it runs");
  add_flags(*command, *arguments);
  command->callback([arguments] {
    const parallel::Launch launch =
        sequence_launch("serve", arguments->generate.sequence_parallel_size);
    share_cores(launch);
    together(launch, kPatient, [&](const auto& group) { serve(*arguments, launch, group); });
  });
}

}  // namespace monarch::apps
