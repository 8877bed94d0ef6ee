#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "cli/proxy_dump.h"
#include "cli/table.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::StringAt;

struct ProxyOptions {
  std::vector<std::string> pods;
  std::string file;
  std::string output = "short";
  std::string level;
  std::string selector;
  bool reset = false;
  bool verbose = true;
  bool with_headers = false;
  bool waypoint = false;
  int admin_port = 15000;
  ProxyFilter filter;
};

/// What Envoy says at `path`, or what the file holds.
Result<Json> Fetch(Session& session, const ProxyOptions& options, const std::string& path) {
  if (options.pods.empty() == options.file.empty())
    return Error(Code::kInvalidArgument, "name a pod or give --file, one of the two");
  Result<std::string> text = std::string();
  if (!options.file.empty()) {
    text = session.ReadInput(options.file);
  } else {
    auto pod = FindPod(session, options.pods[0]);
    if (!pod.ok()) return pod.status();
    text = AskProxy(session, *pod, path);
  }
  if (!text.ok()) return text.status();
  auto json = kubeapi::ParseJson(*text);
  if (!json.ok()) return json.status().In("configuration dump");
  return json;
}

std::string TableText(const Rows& rows, size_t pad) {
  Table table(pad);
  for (const auto& row : rows) table.Add(row);
  return table.Text();
}

/// Prints rows in the short form, or the resources themselves.
int Show(Session& session, const ProxyOptions& options, const Rows& rows, size_t pad,
         const std::vector<Json>& raw) {
  session.Out(options.output == "short" ? TableText(rows, pad)
                                        : Print(Json(raw), options.output, 4));
  return 0;
}

using Handler = std::function<int(Session&, const ProxyOptions&, const Json&)>;

/// Adds a command that shows one part of a proxy's configuration.
CLI::App* AddPart(CLI::App* group, Commands& commands, const std::string& name,
                  const std::string& what, const std::vector<std::string>& aliases,
                  const std::shared_ptr<ProxyOptions>& options, const std::string& path,
                  Handler handler) {
  CLI::App* command =
      AddCommand(group, name, what,
                 fmt::format("  % proxy-config {0} productpage-v1-6b746f74dc-9stvs.default\n"
                             "  % pc {0} deploy/productpage-v1 -n default -o json\n"
                             "  ssh host 'curl localhost:15000/{1}' | % pc {0} --file -\n",
                             name, path),
                 aliases);
  command->add_option("pod", options->pods, "[TYPE/]NAME[.NAMESPACE]")->expected(0, 1);
  command->add_option("-f,--file", options->file,
                      "Dump of the proxy's configuration instead of a pod");
  command->add_option("--proxy-admin-port", options->admin_port, "Envoy's administration port")
      ->capture_default_str();
  AddOutput(command, options->output, {"short", "json", "yaml"});
  OnChosen(command, commands, [options, path, handler = std::move(handler)](Session& session) {
    auto dump = Fetch(session, *options, path);
    if (!dump.ok()) return session.Fail(dump.status());
    return handler(session, *options, *dump);
  });
  return command;
}

int ShowBootstrap(Session& session, const ProxyOptions& options, const Json& dump) {
  const Json bootstrap = Bootstrap(dump);
  if (options.output != "short") {
    session.Out(Print(bootstrap, options.output, 4));
    return 0;
  }
  const Json* node = kubeapi::Find(bootstrap, {"bootstrap", "node"});
  const Json none = Json::object();
  const Json& at = node == nullptr ? none : *node;
  const Json* version = kubeapi::Find(at, {"user_agent_build_version", "version"});
  std::string envoy = "unknown";
  if (version != nullptr)
    envoy = fmt::format("{}.{}.{}", kubeapi::IntAt(*version, {"major_number"}),
                        kubeapi::IntAt(*version, {"minor_number"}),
                        kubeapi::IntAt(*version, {"patch"}));
  session.Out(TableText({{"Istio Version:", StringAt(at, {"metadata", "ISTIO_VERSION"})},
                         {"Istio Proxy Version:", StringAt(at, {"metadata", "ISTIO_PROXY_SHA"})},
                         {"Envoy Version:", envoy}},
                        1));
  return 0;
}

int ShowSecrets(Session& session, const ProxyOptions& options, const Json& dump) {
  const Rows rows = SecretRows(dump, base::SystemClock().Now());
  if (options.output == "short" && rows.size() == 1) {
    session.Out("No active or warming secrets found.\n");
    return 0;
  }
  return Show(session, options, rows, 5, Secrets(dump));
}

/// Every table in turn, each row with its kind in front.
int ShowAll(Session& session, const ProxyOptions& options) {
  auto dump = Fetch(session, options, "config_dump?include_eds=true");
  if (!dump.ok()) return session.Fail(dump.status());
  if (options.output != "short") {
    session.Out(Print(*dump, options.output, 4));
    return 0;
  }
  struct Part {
    std::string name;
    Rows rows;
    size_t pad;
  };
  const ProxyFilter& filter = options.filter;
  std::vector<Part> parts = {
      {"cluster", ClusterRows(Clusters(*dump, filter)), 5},
      {"listener", ListenerRows(Listeners(*dump, filter), options.verbose), 1},
      {"route", RouteRows(Routes(*dump, filter), options.verbose), 5},
      {"secret", SecretRows(*dump, base::SystemClock().Now()), 5},
      {"endpoint", EdsRows(*dump, filter), 5}};
  for (Part& part : parts) {
    if (options.with_headers)
      session.Out(fmt::format("------ {} INFO ------\n", base::ToUpper(part.name)));
    for (size_t i = 0; i < part.rows.size(); ++i)
      part.rows[i][0] = i == 0 ? part.rows[i][0] : part.name + "/" + part.rows[i][0];
    session.Out(TableText(part.rows, part.pad) + "\n");
  }
  return 0;
}

int RunLog(Session& session, const ProxyOptions& options) {
  std::vector<Json> pods;
  if (!options.selector.empty()) {
    auto ns = session.default_namespace();
    if (!ns.ok()) return session.Fail(ns.status());
    auto found = session.List(kPods, *ns, options.selector);
    if (!found.ok()) return session.Fail(found.status());
    pods = std::move(*found);
  }
  for (const std::string& name : options.pods) {
    auto pod = FindPod(session, name);
    if (!pod.ok()) return session.Fail(pod.status());
    pods.push_back(std::move(*pod));
  }
  if (pods.empty())
    return session.Fail(Error(Code::kInvalidArgument, "name a pod, or pods by --selector"));
  std::vector<std::string> requests;
  if (options.reset) requests.push_back("logging?level=warning");
  for (const std::string& part : base::SplitList(options.level)) {
    const auto [logger, level] = base::Cut(part, ":");
    const std::string_view word = level.empty() ? logger : level;
    constexpr std::string_view kLevels = " trace debug info warning error critical off ";
    if (kLevels.find(fmt::format(" {} ", word)) == kLevels.npos)
      return session.Fail(Error(
          Code::kInvalidArgument,
          "\"{}\" is no level; use trace, debug, info, warning, error, critical or off", word));
    requests.push_back(level.empty() ? fmt::format("logging?level={}", word)
                                     : fmt::format("logging?{}={}", logger, word));
  }
  if (requests.empty()) requests.push_back("logging");
  for (const Json& pod : pods) {
    std::string answer;
    for (const std::string& request : requests) {
      auto text = AskProxy(session, pod, request, "POST");
      if (!text.ok()) return session.Fail(text.status());
      answer = std::move(*text);
    }
    session.Out(
        fmt::format("{}.{}:\n{}\n", kubeapi::NameOf(pod), kubeapi::NamespaceOf(pod), answer));
  }
  return 0;
}

int RunRootCaCompare(Session& session, const ProxyOptions& options) {
  std::vector<std::vector<std::string>> roots;
  for (const std::string& name : options.pods) {
    ProxyOptions one;
    one.pods = {name};
    auto dump = Fetch(session, one, "config_dump");
    if (!dump.ok()) return session.Fail(dump.status());
    roots.push_back(RootFingerprints(*dump));
    if (roots.back().empty())
      return session.Fail(Error(Code::kNotFound, "{} has no root certificate yet", name));
  }
  std::vector<std::string> shared;
  std::set_intersection(roots[0].begin(), roots[0].end(), roots[1].begin(), roots[1].end(),
                        std::back_inserter(shared));
  if (!shared.empty()) {
    session.Out(
        fmt::format("Both [{}] and [{}] have the identical ROOTCA, theoretically the connectivity "
                    "between them is available\n",
                    options.pods[0], options.pods[1]));
    return 0;
  }
  return session.Fail(
      Error(Code::kFailedPrecondition,
            "[{}] and [{}] have no root certificate in common; mutual TLS between them fails",
            options.pods[0], options.pods[1]));
}

void AddLogCommands(CLI::App* group, Commands& commands) {
  auto log = std::make_shared<ProxyOptions>();
  CLI::App* command = AddCommand(
      group, "log", "Shows or changes the log levels of proxies",
      "  % proxy-config log deploy/productpage-v1 --level debug\n"
      "  % proxy-config log productpage-v1-6b7.default --level http:debug,router:trace\n",
      {"o", "logging"});
  command->add_option("pods", log->pods, "[TYPE/]NAME[.NAMESPACE]");
  command->add_option("--level", log->level, "Level for all loggers, or LOGGER:LEVEL,...");
  command->add_flag("-r,--reset", log->reset, "Sets all loggers to warning");
  command->add_option("-l,--selector", log->selector, "Labels of the pods");
  command->add_option("--proxy-admin-port", log->admin_port, "Envoy's administration port")
      ->capture_default_str();
  OnChosen(command, commands, [log](Session& session) { return RunLog(session, *log); });

  auto compare = std::make_shared<ProxyOptions>();
  CLI::App* roots =
      AddCommand(group, "rootca-compare", "Tells whether two proxies trust a common root",
                 "  % proxy-config rootca-compare pod1.ns1 pod2.ns2\n", {"rc"});
  roots->add_option("pods", compare->pods, "Two pods")->required()->expected(2);
  OnChosen(roots, commands,
           [compare](Session& session) { return RunRootCaCompare(session, *compare); });
}

void AddEndpointCommands(CLI::App* group, Commands& commands) {
  const auto flags = [](CLI::App* command, ProxyOptions& options) {
    command->add_option("--address", options.filter.address, "Only endpoints of this address");
    command->add_option("--port", options.filter.port, "Only endpoints of this port");
    command->add_option("--cluster", options.filter.cluster, "Only endpoints of this cluster");
    command->add_option("--status", options.filter.status,
                        "Only endpoints in this state: healthy, unhealthy ...");
  };
  auto endpoint = std::make_shared<ProxyOptions>();
  flags(AddPart(group, commands, "endpoint", "Shows the endpoints that a proxy knows",
                {"endpoints", "ep"}, endpoint, "clusters?format=json",
                [](Session& session, const ProxyOptions& options, const Json& dump) {
                  return Show(session, options, EndpointRows(dump, options.filter), 5,
                              Endpoints(dump, options.filter));
                }),
        *endpoint);
  auto eds = std::make_shared<ProxyOptions>();
  CLI::App* command =
      AddPart(group, commands, "eds", "Shows the endpoints of a proxy as they were sent", {}, eds,
              "config_dump?include_eds=true",
              [](Session& session, const ProxyOptions& options, const Json& dump) {
                return Show(session, options, EdsRows(dump, options.filter), 5, {dump});
              });
  flags(command, *eds);
  command->group("");
}

}  // namespace

void AddProxyConfigCommands(Commands& commands) {
  CLI::App* group =
      AddGroup(&commands.root, "proxy-config", "Shows what a proxy is configured with", {"pc"});
  auto cluster = std::make_shared<ProxyOptions>();
  CLI::App* command = AddPart(group, commands, "cluster", "Shows the clusters of a proxy",
                              {"clusters", "c"}, cluster, "config_dump",
                              [](Session& session, const ProxyOptions& options, const Json& dump) {
                                const std::vector<Json> found = Clusters(dump, options.filter);
                                return Show(session, options, ClusterRows(found), 5, found);
                              });
  command->add_option("--fqdn", cluster->filter.fqdn,
                      "Only clusters whose service name holds this");
  command->add_option("--direction", cluster->filter.direction,
                      "Only inbound or outbound clusters");
  command->add_option("--port", cluster->filter.port, "Only clusters of this port");
  command->add_option("--subset", cluster->filter.subset, "Only clusters of this subset");

  AddEndpointCommands(group, commands);

  auto listener = std::make_shared<ProxyOptions>();
  command = AddPart(group, commands, "listener", "Shows the listeners of a proxy",
                    {"listeners", "l"}, listener, "config_dump",
                    [](Session& session, const ProxyOptions& options, const Json& dump) {
                      const std::vector<Json> found = Listeners(dump, options.filter);
                      return Show(session, options, ListenerRows(found, options.verbose), 1, found);
                    });
  command->add_option("--address", listener->filter.address, "Only listeners of this address");
  command->add_option("--port", listener->filter.port, "Only listeners of this port");
  command->add_option("--type", listener->filter.type,
                      "Only listeners of this type: HTTP, TCP, HTTP+TCP, UNKNOWN");
  command->add_flag("--verbose", listener->verbose, "One row for each filter chain")
      ->default_str("true");
  command->add_flag("--waypoint", listener->waypoint)->group("");

  auto route = std::make_shared<ProxyOptions>();
  command =
      AddPart(group, commands, "route", "Shows the routes of a proxy", {"routes", "r"}, route,
              "config_dump", [](Session& session, const ProxyOptions& options, const Json& dump) {
                const std::vector<Json> found = Routes(dump, options.filter);
                return Show(session, options, RouteRows(found, options.verbose), 5, found);
              });
  command->add_option("--name", route->filter.name, "Only the route table of this name");
  command->add_flag("--verbose", route->verbose, "One row for each route")->default_str("true");

  AddPart(group, commands, "secret", "Shows the certificates of a proxy", {"secrets", "s"},
          std::make_shared<ProxyOptions>(), "config_dump", ShowSecrets);
  auto bootstrap = std::make_shared<ProxyOptions>();
  bootstrap->output = "json";
  AddPart(group, commands, "bootstrap", "Shows what a proxy was started with", {"b"}, bootstrap,
          "config_dump", ShowBootstrap);
  AddPart(group, commands, "ecds", "Shows the extensions of a proxy", {"ec"},
          std::make_shared<ProxyOptions>(), "config_dump",
          [](Session& session, const ProxyOptions& options, const Json& dump) {
            return Show(session, options, EcdsRows(dump), 5, {dump});
          });

  auto all = std::make_shared<ProxyOptions>();
  command = AddCommand(group, "all", "Shows everything of a proxy",
                       "  % proxy-config all productpage-v1-6b7.default\n", {"a"});
  command->add_option("pod", all->pods, "[TYPE/]NAME[.NAMESPACE]")->expected(0, 1);
  command->add_option("-f,--file", all->file, "Dump of the proxy's configuration instead of a pod");
  command->add_option("--fqdn", all->filter.fqdn, "Only clusters whose service name holds this");
  command->add_option("--direction", all->filter.direction, "Only inbound or outbound clusters");
  command->add_option("--subset", all->filter.subset, "Only clusters of this subset");
  command->add_option("--address", all->filter.address,
                      "Only listeners and endpoints of this address");
  command->add_option("--port", all->filter.port, "Only this port");
  command->add_option("--type", all->filter.type, "Only listeners of this type");
  command->add_option("--name", all->filter.name, "Only the route table of this name");
  command->add_flag("--verbose", all->verbose, "One row for each filter chain and route")
      ->default_str("true");
  command->add_flag("--with-headers", all->with_headers, "A heading before each table");
  AddOutput(command, all->output, {"short", "json", "yaml"});
  OnChosen(command, commands, [all](Session& session) { return ShowAll(session, *all); });
  AddLogCommands(group, commands);
}

}  // namespace isthmus::cli
