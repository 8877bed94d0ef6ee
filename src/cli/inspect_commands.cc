#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "cli/table.h"
#include "kubeapi/meta.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

struct InspectOptions {
  std::string what;
  std::string revision;
  std::string type = "server";
  std::string output = "short";
  bool all = false;
  bool list = false;
};

/// A debug page of the control plane; of the first istiod, or of all.
int RunInternalDebug(Session& session, const InspectOptions& options) {
  if (options.what.empty() && !options.list)
    return session.Fail(Error(Code::kInvalidArgument, "name a debug page; --list shows them"));
  auto answers =
      AskIstiods(session, options.revision, "/debug/" + (options.list ? "list" : options.what));
  if (!answers.ok()) return session.Fail(answers.status());
  for (const IstiodAnswer& answer : *answers) {
    if (options.all) session.Out(fmt::format("{}:\n", answer.pod));
    session.Out(answer.body + (answer.body.ends_with('\n') ? "" : "\n"));
    if (!options.all) break;
  }
  return 0;
}

int RunEnvoyStats(Session& session, const InspectOptions& options) {
  auto pod = FindPod(session, options.what);
  if (!pod.ok()) return session.Fail(pod.status());
  std::string path = options.type == "clusters" ? "clusters" : "stats";
  if (options.output == "prom" || options.output == "prom-merged") {
    if (options.type == "clusters")
      return session.Fail(
          Error(Code::kInvalidArgument, "--type clusters has no form {}", options.output), 64);
    path = "stats/prometheus";
  } else if (options.output != "short") {
    path += "?format=json";
  }
  auto text = AskProxy(session, *pod, path);
  if (!text.ok()) return session.Fail(text.status());
  if (options.output == "json" || options.output == "yaml") {
    auto json = kubeapi::ParseJson(*text);
    if (!json.ok()) return session.Fail(json.status().In("Envoy's answer"));
    session.Out(Print(*json, options.output));
    return 0;
  }
  session.Out(*text);
  return 0;
}

std::string ActionOf(const Json& rules) {
  const std::string action = StringAt(rules, {"action"});
  return action.empty() ? "ALLOW" : action;
}

/// Policies in the RBAC filters of a proxy's inbound listeners.
void CollectPolicies(const Json& value,
                     std::map<std::string, std::map<std::string, std::set<std::string>>>& found) {
  if (value.is_object()) {
    if (const Json* rules = kubeapi::Find(value, {"rules"});
        rules != nullptr && rules->contains("policies")) {
      for (const auto& [name, policy] : (*rules)["policies"].items()) {
        // "ns[shop]-policy[allow]-rule[0]" or "istio-ext-authz-..." in front of it.
        const auto part = [&name = name](std::string_view key) {
          const size_t at = name.find(std::string(key) + "[");
          if (at == name.npos) return std::string();
          const size_t begin = at + key.size() + 1;
          return name.substr(begin, name.find(']', begin) - begin);
        };
        const std::string policy_name = part("policy");
        found[ActionOf(*rules)][policy_name.empty() ? name : policy_name + "." + part("ns")].insert(
            part("rule"));
      }
    }
    for (const auto& [key, item] : value.items()) CollectPolicies(item, found);
  } else if (value.is_array()) {
    for (const Json& item : value) CollectPolicies(item, found);
  }
}

int RunAuthzCheck(Session& session, const InspectOptions& options) {
  auto pod = FindPod(session, options.what);
  if (!pod.ok()) return session.Fail(pod.status());
  auto text = AskProxy(session, *pod, "config_dump?mask=dynamic_listeners");
  if (!text.ok()) return session.Fail(text.status());
  auto dump = kubeapi::ParseJson(*text);
  if (!dump.ok()) return session.Fail(dump.status().In("Envoy's answer"));
  std::map<std::string, std::map<std::string, std::set<std::string>>> found;
  CollectPolicies(*dump, found);
  Table table(3);
  table.Add({"ACTION", "AuthorizationPolicy", "RULES"});
  for (const char* action : {"DENY", "ALLOW", "LOG", "CUSTOM"})
    for (const auto& [policy, rules] : found[action])
      table.Add({action, policy, std::to_string(rules.size())});
  session.Out(table.size() == 1 ? "No AuthorizationPolicy applies to the workload.\n"
                                : table.Text());
  return 0;
}

}  // namespace

void AddInspectCommands(Commands& commands, CLI::App* group) {
  auto debug_options = std::make_shared<InspectOptions>();
  CLI::App* debug = AddCommand(group, "internal-debug", "Prints a debug page of the control plane",
                               "  % x internal-debug --list\n  % x internal-debug syncz\n"
                               "  % x internal-debug 'edsz?proxyID=cart-6b7c.shop'\n");
  debug->add_option("type", debug_options->what, "Name of the page");
  debug->add_flag("--all", debug_options->all, "Of every istiod, not just the first");
  debug->add_flag("-L,--list", debug_options->list, "Lists the pages");
  debug->add_option("-r,--revision", debug_options->revision, "Revision of the control plane");
  OnChosen(debug, commands,
           [debug_options](Session& session) { return RunInternalDebug(session, *debug_options); });
  auto stats_options = std::make_shared<InspectOptions>();
  CLI::App* stats = AddCommand(group, "envoy-stats", "Prints the statistics of a proxy",
                               "  % x envoy-stats cart-6b7c.shop\n"
                               "  % x envoy-stats deploy/cart.shop --type clusters -o json\n",
                               {"es"});
  stats->add_option("pod", stats_options->what, "[TYPE/]NAME[.NAMESPACE]")->required();
  stats->add_option("-t,--type", stats_options->type, "server or clusters")
      ->check(CLI::IsMember({"server", "clusters"}))
      ->capture_default_str();
  AddOutput(stats, stats_options->output, {"short", "json", "yaml", "prom", "prom-merged"});
  OnChosen(stats, commands,
           [stats_options](Session& session) { return RunEnvoyStats(session, *stats_options); });
  CLI::App* authz = AddGroup(group, "authz", "Authorization of workloads");
  auto check_options = std::make_shared<InspectOptions>();
  CLI::App* check = AddCommand(authz, "check", "Lists the policies that a proxy enforces",
                               "  % x authz check cart-6b7c.shop\n");
  check->add_option("pod", check_options->what, "[TYPE/]NAME[.NAMESPACE]")->required();
  OnChosen(check, commands,
           [check_options](Session& session) { return RunAuthzCheck(session, *check_options); });
}

}  // namespace isthmus::cli
