#include "cli/proxy_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/duration.h"
#include "cli/command.h"
#include "cli/table.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::StringAt;

/// The types in the order of the columns, by the names of syncz's fields.
constexpr std::array<std::string_view, 5> kTypes = {"cluster", "listener", "endpoint", "route",
                                                    "extensionconfig"};

/// Nothing sent, all acknowledged, or waiting.
std::string SyncText(const Json& proxy, std::string_view type) {
  const std::string sent = StringAt(proxy, {fmt::format("{}_sent", type)});
  const std::string acked = StringAt(proxy, {fmt::format("{}_acked", type)});
  if (sent.empty()) return "NOT SENT";
  if (sent == acked) return "SYNCED";
  return acked.empty() ? "STALE (Never Acknowledged)" : "STALE";
}

Result<Json> ParseList(const IstiodAnswer& answer) {
  auto json = kubeapi::ParseJson(answer.body);
  if (!json.ok()) return json.status().In(fmt::format("answer of {}", answer.pod));
  if (json->is_null()) return Json::array();
  if (!json->is_array()) return Error(Code::kDataLoss, "answer of {} is no list", answer.pod);
  return json;
}

struct StatusOptions {
  std::string revision;
  std::string output = "table";
  std::string file;
  std::string pod;
  int verbosity = 0;
};

int ComparePod(Session& session, const StatusOptions& options);

int RunStatus(Session& session, const StatusOptions& options) {
  if (!options.pod.empty()) return ComparePod(session, options);
  auto answers = AskIstiods(session, options.revision, "/debug/syncz");
  if (!answers.ok()) return session.Fail(answers.status());
  if (options.output != "table") {
    Json all = Json::object();
    for (const IstiodAnswer& answer : *answers) {
      auto list = ParseList(answer);
      if (!list.ok()) return session.Fail(list.status());
      all[answer.pod] = std::move(*list);
    }
    session.Out(Print(all, options.output, 4));
    return 0;
  }
  const auto table = ProxyStatusTable(*answers, session.globals.ns);
  if (!table.ok()) return session.Fail(table.status());
  session.Out(*table);
  return 0;
}

/// Envoy writes field names as its .proto files do, istiod as JSON does: "active_state" and
/// "activeState".
Json WithSnakeCase(const Json& value) {
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& item : value) list.push_back(WithSnakeCase(item));
    return list;
  }
  if (!value.is_object()) return value;
  Json object = Json::object();
  for (const auto& [key, field] : value.items()) {
    std::string name;
    for (const char c : key) {
      const bool upper = c >= 'A' && c <= 'Z';
      if (upper && !name.empty()) name += '_';
      name += upper ? static_cast<char>(c - 'A' + 'a') : c;
    }
    object[name] = WithSnakeCase(field);
  }
  return object;
}

/// The dynamic resources of one kind in a config dump, by name, without versions and times.
Json Dynamic(const Json& dump, std::string_view dump_type, std::string_view list,
             std::string_view inner) {
  Json found = Json::object();
  for (const Json& config : kubeapi::ItemsAt(dump, {"configs"})) {
    if (!StringAt(config, {"@type"}).ends_with(dump_type)) continue;
    for (const Json& entry : kubeapi::ItemsAt(config, {list})) {
      const Json* resource = kubeapi::Find(entry, {"active_state", inner});
      if (resource == nullptr) resource = kubeapi::Find(entry, {inner});
      if (resource != nullptr) found[StringAt(*resource, {"name"})] = *resource;
    }
  }
  return found;
}

void PrintDifference(Session& session, const std::string& name, const Json& istiod,
                     const Json& envoy) {
  session.Out(fmt::format("  ! {} differs, from istiod to Envoy:\n", name));
  for (const Json& step : kubeapi::DiffJsonPatch(istiod, envoy)) {
    const Json* value = kubeapi::Find(step, {"value"});
    session.Out(fmt::format("      {} {}{}\n", StringAt(step, {"op"}), StringAt(step, {"path"}),
                            value == nullptr ? "" : ": " + kubeapi::ToJson(*value)));
  }
}

int ComparePod(Session& session, const StatusOptions& options) {
  auto pod = FindPod(session, options.pod);
  if (!pod.ok()) return session.Fail(pod.status());
  auto text = options.file.empty() ? AskProxy(session, *pod, "config_dump")
                                   : session.ReadInput(options.file);
  if (!text.ok()) return session.Fail(text.status());
  const auto dump = kubeapi::ParseJson(*text);
  if (!dump.ok()) return session.Fail(dump.status().In("config dump of the proxy"));
  const Json envoy = WithSnakeCase(*dump);
  const std::string id = fmt::format("{}.{}", kubeapi::NameOf(*pod), kubeapi::NamespaceOf(*pod));
  auto answers = AskIstiods(session, options.revision, "/debug/config_dump?proxyID=" + id);
  if (!answers.ok()) return session.Fail(answers.status());
  Result<Json> istiod = Error(Code::kNotFound, "no istiod knows the proxy {}", id);
  for (const IstiodAnswer& answer : *answers)
    if (auto json = kubeapi::ParseJson(answer.body); json.ok() && json->is_object())
      istiod = WithSnakeCase(*json);
  if (!istiod.ok()) return session.Fail(istiod.status());
  struct Part {
    std::string_view title, type, list, inner;
  };
  for (const Part& part :
       {Part{"Clusters", "ClustersConfigDump", "dynamic_active_clusters", "cluster"},
        Part{"Listeners", "ListenersConfigDump", "dynamic_listeners", "listener"},
        Part{"Routes", "RoutesConfigDump", "dynamic_route_configs", "route_config"}}) {
    const Json ours = Dynamic(*istiod, part.type, part.list, part.inner);
    const Json theirs = Dynamic(envoy, part.type, part.list, part.inner);
    if (ours == theirs) {
      session.Out(fmt::format("{} Match\n", part.title));
      continue;
    }
    session.Out(fmt::format("{} Don't Match\n", part.title));
    for (const auto& [name, value] : ours.items()) {
      if (!theirs.contains(name))
        session.Out(fmt::format("  - {} (only in istiod)\n", name));
      else if (theirs[name] != value)
        PrintDifference(session, name, value, theirs[name]);
    }
    for (const auto& [name, value] : theirs.items())
      if (!ours.contains(name)) session.Out(fmt::format("  + {} (only in Envoy)\n", name));
  }
  return 0;
}

struct RemoteOptions {
  std::string revision;
  std::string output = "table";
};

}  // namespace

Result<std::string> ProxyStatusTable(const std::vector<IstiodAnswer>& answers,
                                     std::string_view ns) {
  std::vector<std::vector<std::string>> rows;
  for (const IstiodAnswer& answer : answers) {
    ASSIGN_OR_RETURN(const Json list, ParseList(answer), "proxy status");
    for (const Json& proxy : list) {
      const std::string name = StringAt(proxy, {"proxy"});
      if (name.empty() || (!ns.empty() && !name.ends_with(fmt::format(".{}", ns)))) continue;
      std::vector<std::string> row = {name, StringAt(proxy, {"cluster_id"})};
      for (const std::string_view type : kTypes) row.push_back(SyncText(proxy, type));
      row.push_back(answer.pod);
      std::string version = StringAt(proxy, {"istio_version"});
      if (version.empty()) version = StringAt(proxy, {"proxy_version"});
      row.push_back(std::move(version));
      rows.push_back(std::move(row));
    }
  }
  std::sort(rows.begin(), rows.end());
  Table table(5);
  table.Add({"NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"});
  for (auto& row : rows) table.Add(std::move(row));
  return table.Text();
}

namespace {

/// "synced", or how old what the control plane serves of a cluster is.
std::string FreshnessOf(const Json& cluster) {
  const std::string sync = StringAt(cluster, {"syncStatus"});
  const bool stored = kubeapi::BoolAt(cluster, {"fromStore"});
  if (!kubeapi::BoolAt(cluster, {"stale"}) || (sync != "synced" && !stored)) return sync;
  const std::string age =
      base::FormatDuration(std::chrono::seconds(kubeapi::IntAt(cluster, {"staleSeconds"})));
  return stored ? fmt::format("stored {} ago", age) : fmt::format("stale for {}", age);
}

/// Why clusters are not read, for people.
void WarnOfClusters(Session& session, const std::vector<IstiodAnswer>& answers) {
  for (const IstiodAnswer& answer : answers) {
    const auto list = ParseList(answer);
    if (!list.ok()) continue;
    for (const Json& cluster : *list)
      if (const std::string error = StringAt(cluster, {"error"}); !error.empty())
        session.Err(fmt::format("warn: {}: cluster {}: {}\n", answer.pod, StringAt(cluster, {"id"}),
                                error));
  }
}

}  // namespace

Result<std::string> RemoteClustersTable(const std::vector<IstiodAnswer>& answers) {
  Table table(5);
  table.Add({"NAME", "SECRET", "STATUS", "ISTIOD"});
  for (const IstiodAnswer& answer : answers) {
    ASSIGN_OR_RETURN(const Json list, ParseList(answer), "remote clusters");
    std::vector<std::vector<std::string>> rows;
    for (const Json& cluster : list)
      rows.push_back(
          {StringAt(cluster, {"secretName"}), StringAt(cluster, {"id"}), FreshnessOf(cluster)});
    // The local cluster has no secret and so comes first.
    std::sort(rows.begin(), rows.end());
    for (const auto& row : rows) table.Add({row[1], row[0], row[2], answer.pod});
  }
  return table.Text();
}

void AddStatusCommands(Commands& commands, CLI::App* group) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command =
      AddCommand(group, "proxy-status", "Shows whether each proxy has the newest configuration",
                 "  # All proxies of the mesh\n  % proxy-status\n"
                 "  # What one proxy has, against what the control plane would send it\n"
                 "  % proxy-status istio-egressgateway-59585c5b9c-ndc59.istio-system\n",
                 {"ps"});
  command->add_option("pod", options->pod,
                      "[TYPE/]NAME[.NAMESPACE] to compare with the control plane");
  command->add_option("-r,--revision", options->revision, "Revision of the control plane");
  command->add_option("-f,--file", options->file,
                      "Configuration dump of the proxy instead of the proxy itself");
  command->add_option("-v,--verbosity", options->verbosity, "Detail (all types are always shown)");
  AddOutput(command, options->output, {"table", "json", "yaml"});
  OnChosen(command, commands, [options](Session& session) { return RunStatus(session, *options); });

  auto remote = std::make_shared<RemoteOptions>();
  CLI::App* clusters =
      AddCommand(group, "remote-clusters", "Lists the clusters each control plane watches",
                 "  % remote-clusters\n");
  clusters->add_option("-r,--revision", remote->revision, "Revision of the control plane");
  AddOutput(clusters, remote->output, {"table", "json", "yaml"});
  OnChosen(clusters, commands, [remote](Session& session) {
    auto answers = AskIstiods(session, remote->revision, "/debug/clusterz");
    if (!answers.ok()) return session.Fail(answers.status());
    if (remote->output != "table") {
      Json all = Json::object();
      for (const IstiodAnswer& answer : *answers) {
        auto list = ParseList(answer);
        if (!list.ok()) return session.Fail(list.status());
        all[answer.pod] = std::move(*list);
      }
      session.Out(Print(all, remote->output));
      return 0;
    }
    const auto table = RemoteClustersTable(*answers);
    if (!table.ok()) return session.Fail(table.status());
    session.Out(*table);
    WarnOfClusters(session, *answers);
    return 0;
  });
}

}  // namespace isthmus::cli
