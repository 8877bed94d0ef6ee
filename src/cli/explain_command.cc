#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/explain.h"
#include "cli/pods.h"
#include "cli/table.h"
#include "install/expected_view.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::StringAt;

struct ExplainOptions {
  std::string pod;
  std::string service;
  std::string revision;
  std::string output = "table";
};

Result<Json> AskPage(Session& session, const ExplainOptions& options, const char* page) {
  ASSIGN_OR_RETURN(const auto answers,
                   AskIstiods(session, options.revision, std::string("/debug/") + page), "");
  return kubeapi::ParseJson(answers.front().body);
}

/// "helloworld", "helloworld.sample" and the whole name, seen from a namespace.
std::string FullHost(const std::string& name, const std::string& ns) {
  const auto dots = std::count(name.begin(), name.end(), '.');
  if (dots == 0) return name + "." + ns + ".svc.cluster.local";
  return dots == 1 ? name + ".svc.cluster.local" : name;
}

int RunExplain(Session& session, const ExplainOptions& options) {
  auto pod = FindPod(session, options.pod);
  if (!pod.ok()) return session.Fail(pod.status());
  const auto [name, port] = base::Cut(options.service, ":");
  const std::string host = FullHost(std::string(name), kubeapi::NamespaceOf(*pod));
  auto info = AskProxy(session, *pod, "server_info");
  auto clusters = AskProxy(session, *pod, "clusters?format=json");
  for (const auto* answer : {&info, &clusters})
    if (!answer->ok()) return session.Fail(answer->status());
  auto held_by_cluster = install::ReadEnvoyClusters(*clusters);
  if (!held_by_cluster.ok()) return session.Fail(held_by_cluster.status());
  std::set<std::string> held;
  bool known = false;
  for (const auto& [cluster, addresses] : *held_by_cluster)
    if (cluster.ends_with("||" + host) &&
        (port.empty() || cluster.starts_with(fmt::format("outbound|{}|", port)))) {
      known = true;
      held.insert(addresses.begin(), addresses.end());
    }
  auto node = kubeapi::ParseJson(*info);
  auto shards = AskPage(session, options, "endpointShardz");
  auto networks = AskPage(session, options, "networkz");
  for (const auto* answer : {&node, &shards, &networks})
    if (!answer->ok()) return session.Fail(answer->status());
  const ExplainedProxy proxy{StringAt(*node, {"node", "metadata", "CLUSTER_ID"}),
                             StringAt(*node, {"node", "metadata", "NETWORK"})};
  const auto all = Explain(proxy, host, "", *shards, *networks, held);
  if (options.output != "table") {
    Json list = Json::array();
    for (const ExplainedEndpoint& one : all)
      list.push_back({{"endpoint", one.address},
                      {"cluster", one.cluster},
                      {"network", one.network},
                      {"learntFrom", one.source},
                      {"sentAs", one.sent_as},
                      {"held", one.held}});
    session.Out(Print(list, options.output));
    return 0;
  }
  session.Out(fmt::format("{} (cluster {}, network {}) to {}\n", kubeapi::KeyOf(*pod),
                          proxy.cluster, proxy.network.empty() ? "none" : proxy.network,
                          options.service));
  if (all.empty())
    return session.Fail(
        Error(Code::kNotFound,
              "the control plane knows no endpoint of {}: is there a Service in a cluster that "
              "it watches, with ready pods? (remote-clusters)",
              host));
  Table table(3);
  table.Add({"ENDPOINT", "CLUSTER", "NETWORK", "LEARNT FROM", "HELD", "SENT AS"});
  for (const ExplainedEndpoint& one : all)
    table.Add(
        {one.address, one.cluster, one.network, one.source, one.held ? "yes" : "no", one.sent_as});
  session.Out(table.Text());
  if (!known)
    session.Out(fmt::format(
        "The proxy does not know {} at all: a Sidecar or exportTo may keep it away.\n", host));
  return 0;
}

}  // namespace

void AddExplainCommand(Commands& commands) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = AddCommand(&commands.root, "explain",
                                 "Tells for each endpoint of a service where it comes from, and "
                                 "why a proxy sends to it or not",
                                 "  % explain deploy/sleep.sample helloworld.sample:5000\n");
  command->add_option("pod", options->pod, "[TYPE/]NAME[.NAMESPACE] of the one who calls")
      ->required();
  command->add_option("service", options->service, "NAME[.NAMESPACE][:PORT]")->required();
  command->add_option("-r,--revision", options->revision, "Revision of the control plane");
  AddOutput(command, options->output, {"table", "json", "yaml"});
  OnChosen(command, commands,
           [options](Session& session) { return RunExplain(session, *options); });
}

}  // namespace isthmus::cli
