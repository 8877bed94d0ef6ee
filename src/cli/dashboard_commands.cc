#include <fmt/format.h>

#include <csignal>

#include "base/signals.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "http/server.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

struct DashboardOptions {
  std::string pod;
  std::string address = "localhost";
  int port = 0;
  bool browser = true;
  std::string selector;
  int ui_port = 15000;
};

/// A request waiting for its turn: they are made one after another through the pod's agent.
struct Waiting {
  std::shared_ptr<http::ServerStream> stream;
};

int RunEnvoy(Session& session, const DashboardOptions& options) {
  auto pod = FindPod(session, options.pod);
  if (!pod.ok()) return session.Fail(pod.status());
  // Fails at once when the proxy cannot be reached, not at the first click.
  if (auto probe = AskProxy(session, *pod, "server_info"); !probe.ok())
    return session.Fail(probe.status());
  std::vector<Waiting> queue;
  http::ServerOptions server_options;
  server_options.address = options.address == "localhost" ? "127.0.0.1" : options.address;
  server_options.port = static_cast<uint16_t>(options.port == 0 ? options.ui_port : options.port);
  const auto handler = [&queue](std::shared_ptr<http::ServerStream> stream) {
    queue.push_back({std::move(stream)});
  };
  auto server = std::make_unique<http::Server>(session.loop(), server_options, handler);
  if (base::Status started = server->Start(); !started.ok()) {
    if (options.port != 0) return session.Fail(started);
    server_options.port = 0;
    server = std::make_unique<http::Server>(session.loop(), server_options, handler);
    if (started = server->Start(); !started.ok()) return session.Fail(started);
  }
  session.Out(fmt::format("http://{}:{}\n", options.address, server->port()));
  bool stop = false;
  const base::Signals signals(session.loop(), {SIGINT, SIGTERM}, [&stop](int) { stop = true; });
  while (!stop) {
    session.loop().RunUntil([&] { return stop || !queue.empty(); }, std::chrono::hours(24));
    while (!stop && !queue.empty()) {
      const Waiting next = std::move(queue.front());
      queue.erase(queue.begin());
      const http::RequestHead& head = next.stream->head();
      const std::string path = head.target.starts_with('/') ? head.target.substr(1) : head.target;
      auto answer = AskProxy(session, *pod, path, head.method == "POST" ? "POST" : "GET");
      if (!answer.ok()) {
        next.stream->Respond(502, "text/plain", answer.status().message() + "\n");
        continue;
      }
      const bool html = answer->starts_with("<") || answer->find("<html") != answer->npos;
      const bool json = answer->starts_with("{") || answer->starts_with("[");
      next.stream->Respond(200,
                           html   ? "text/html; charset=UTF-8"
                           : json ? "application/json"
                                  : "text/plain",
                           std::move(*answer));
    }
  }
  return 0;
}

}  // namespace

void AddDashboardCommands(Commands& commands) {
  CLI::App* group =
      AddGroup(&commands.root, "dashboard", "Opens user interfaces of the mesh", {"dash", "d"});
  auto options = std::make_shared<DashboardOptions>();
  CLI::App* command = AddCommand(
      group, "envoy", "Serves a proxy's administration pages on this machine until interrupted",
      "  % dashboard envoy productpage-v1-6b746f74dc-9stvs.default\n", {"proxy"});
  command->add_option("pod", options->pod, "[TYPE/]NAME[.NAMESPACE]")->required();
  command->add_option("--address", options->address, "Address to listen on")->capture_default_str();
  command->add_option("-p,--port", options->port,
                      "Port to listen on; 15000 or a free one when absent");
  command->add_option("--ui-port", options->ui_port, "Port of the administration pages")
      ->capture_default_str();
  command->add_flag("--browser", options->browser,
                    "Accepted; the address is printed, no browser is opened");
  OnChosen(command, commands, [options](Session& session) { return RunEnvoy(session, *options); });
}

}  // namespace isthmus::cli
