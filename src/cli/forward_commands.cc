#include <fmt/format.h>

#include <csignal>

#include "base/signals.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "kubeapi/meta.h"
#include "kubeclient/pod_forward.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;

struct ForwardOptions {
  std::string pod;
  std::string ports;
  std::string address = "localhost";
  int port = 0;
  bool browser = true;
  std::string selector;
  int ui_port = 0;
};

/// A user interface beside the control plane: how its pods are labelled, its port, and its first
/// page.
struct Interface {
  const char* name;
  const char* app;
  int port;
  const char* path;
};

constexpr Interface kInterfaces[] = {{"prometheus", "prometheus", 9090, ""},
                                     {"grafana", "grafana", 3000, ""},
                                     {"kiali", "kiali", 20001, "/kiali"},
                                     {"jaeger", "jaeger", 16686, ""},
                                     {"zipkin", "zipkin", 9411, ""},
                                     {"skywalking", "skywalking", 8080, ""},
                                     {"istiod-debug", "istiod", 15014, "/debug"}};

/// Leads a port of this machine to a pod until it is interrupted. `url` is printed with the port in
/// it.
int Forward(Session& session, const kubeclient::ForwardTarget& target,
            const ForwardOptions& options, int local, const std::string& what) {
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  const std::string address = options.address == "localhost" ? "127.0.0.1" : options.address;
  const auto listen = [&](int port) {
    return kubeclient::PodForward::Listen(
        session.loop(), **client, target, address, static_cast<uint16_t>(port),
        [&session](const std::string& why) { session.Err(fmt::format("warning: {}\n", why)); });
  };
  auto forward = listen(local);
  // The usual port is a courtesy; one that was asked for is an order.
  if (!forward.ok() && options.port == 0 && options.ports.empty()) forward = listen(0);
  if (!forward.ok()) return session.Fail(forward.status());
  session.Out(fmt::format(fmt::runtime(what), options.address, (*forward)->port()) + "\n");
  bool stop = false;
  const base::Signals signals(session.loop(), {SIGINT, SIGTERM}, [&stop](int) { stop = true; });
  while (!stop) session.loop().RunUntil([&stop] { return stop; }, std::chrono::hours(24));
  return 0;
}

int RunInterface(Session& session, const Interface& ui, const ForwardOptions& options) {
  const std::string& ns =
      session.globals.ns.empty() ? session.globals.istio_ns : session.globals.ns;
  std::vector<Json> pods;
  for (const std::string& selector :
       {options.selector, "app.kubernetes.io/name=" + std::string(ui.app),
        "app=" + std::string(ui.app)}) {
    if (selector.empty() || !pods.empty()) continue;
    auto found = session.List(kPods, ns, selector, "status.phase=Running");
    if (!found.ok()) return session.Fail(found.status());
    pods = std::move(*found);
  }
  if (pods.empty())
    return session.Fail(Error(
        Code::kNotFound, "no running pod of {} in namespace {}; is it installed?", ui.name, ns));
  const int port = options.ui_port == 0 ? ui.port : options.ui_port;
  return Forward(session, {ns, kubeapi::NameOf(pods.front()), static_cast<uint16_t>(port)}, options,
                 options.port == 0 ? port : options.port, std::string("http://{}:{}") + ui.path);
}

int RunPortForward(Session& session, const ForwardOptions& options) {
  auto [local, remote] = base::Cut(options.ports, ":");
  if (options.ports.find(':') == std::string::npos) remote = local;
  const auto to = base::ParseInt(remote);
  const auto from = local.empty() ? Result<int64_t>(0) : base::ParseInt(local);
  if (!to.ok() || !from.ok() || *to < 1 || *to > 65535 || *from < 0 || *from > 65535)
    return session.Fail(
        Error(Code::kInvalidArgument, "\"{}\": ports are written [LOCAL:]REMOTE, each 1 to 65535",
              options.ports),
        64);
  auto pod = FindPod(session, options.pod);
  if (!pod.ok()) return session.Fail(pod.status());
  return Forward(
      session, {kubeapi::NamespaceOf(*pod), kubeapi::NameOf(*pod), static_cast<uint16_t>(*to)},
      options, static_cast<int>(*from), fmt::format("Forwarding from {{}}:{{}} -> {}", *to));
}

}  // namespace

void AddForwardCommands(Commands& commands) {
  auto forward = std::make_shared<ForwardOptions>();
  CLI::App* command =
      AddCommand(&commands.root, "port-forward",
                 "Leads a port of this machine to a port of a pod until interrupted",
                 "  % port-forward deploy/cart.shop 8080:80\n  % port-forward "
                 "istiod-7c9.istio-system :15014\n");
  command->add_option("pod", forward->pod, "[TYPE/]NAME[.NAMESPACE]")->required();
  command->add_option("ports", forward->ports, "[LOCAL:]REMOTE; an empty LOCAL takes a free one")
      ->required();
  command->add_option("--address", forward->address, "Address to listen on")->capture_default_str();
  OnChosen(command, commands,
           [forward](Session& session) { return RunPortForward(session, *forward); });
  CLI::App* dashboard = commands.root.get_subcommand("dashboard");
  for (const Interface& ui : kInterfaces) {
    auto options = std::make_shared<ForwardOptions>();
    CLI::App* one = AddCommand(dashboard, ui.name,
                               fmt::format("Leads to the pages of {} until interrupted", ui.name),
                               fmt::format("  % dashboard {}\n", ui.name));
    one->add_option("--address", options->address, "Address to listen on")->capture_default_str();
    one->add_option("-p,--port", options->port,
                    "Port to listen on; its own or a free one when absent");
    one->add_option("--ui-port", options->ui_port, "Port of the pages in the pod");
    one->add_option("-l,--selector", options->selector, "Labels of its pods");
    one->add_flag("--browser", options->browser,
                  "Accepted; the address is printed, no browser is opened");
    OnChosen(one, commands,
             [&ui, options](Session& session) { return RunInterface(session, ui, *options); });
  }
}

}  // namespace isthmus::cli
