#include "controlplane/debug_pages.h"

#include "base/strings.h"
#include "controlplane/debug_json.h"

namespace isthmus::controlplane {
namespace {

using base::Code;
using kubeapi::Json;

constexpr int kIndent = 2;

Json ClustersJson(const registry::MeshRegistry& registry) {
  Json all = Json::array();
  for (const registry::ClusterStatus& cluster : registry.Clusters()) {
    Json row = {
        {"id", cluster.id.text()}, {"secretName", cluster.secret}, {"syncStatus", cluster.sync}};
    // Ours: how fresh it is, and why not.
    row["services"] = cluster.services;
    row["pods"] = cluster.pods;
    if (cluster.stale) {
      row["stale"] = true;
      row["staleSeconds"] =
          std::chrono::duration_cast<std::chrono::seconds>(cluster.stale_for).count();
      row["error"] = cluster.error;
    }
    if (cluster.from_store) row["fromStore"] = true;
    all.push_back(std::move(row));
  }
  return all;
}

// Endpoints whose service belongs to the proxy's pod, as far as addresses tell.
Json InstancesJson(const model::Snapshot& snapshot, const ads::Server& xds, std::string_view only) {
  Json all = Json::object();
  for (const ads::Connection& connection : xds.connections()) {
    const model::Proxy& proxy = connection.stream->node().proxy;
    if (!only.empty() && proxy.id != only) continue;
    Json list = Json::array();
    for (const auto& [key, endpoints] : *snapshot.endpoints)
      for (const auto& shard : endpoints->shards) {
        if (shard->cluster != proxy.cluster) continue;
        for (const model::Endpoint& endpoint : shard->endpoints)
          for (const std::string& address : proxy.addresses)
            if (endpoint.address == address)
              list.push_back({{"Service", key.substr(0, key.rfind('/'))},
                              {"ServicePortName", endpoint.port_name},
                              {"EndpointPort", endpoint.port}});
      }
    all[proxy.id] = std::move(list);
  }
  return all;
}

}  // namespace

DebugPages::DebugPages(DebugSources sources) : sources_(std::move(sources)) {
  const auto add = [this](std::string name, std::string help, auto show) {
    entries_.push_back({std::move(name), std::move(help),
                        [show](const http::RequestHead& head) -> base::Result<std::string> {
                          return show(head);
                        }});
  };
  const auto add_json = [&add](std::string name, std::string help, auto make) {
    add(std::move(name), std::move(help),
        [make](const http::RequestHead&) { return kubeapi::ToJson(make(), kIndent); });
  };
  const auto snapshot = [this]() -> const model::Snapshot& {
    static const model::Snapshot kNone;
    return sources_.registry.snapshot() == nullptr ? kNone : *sources_.registry.snapshot();
  };
  add_json("syncz", "what each proxy was sent and has acknowledged",
           [this] { return SyncJson(sources_.xds, sources_.cluster); });
  add_json("adsz", "connected proxies", [this] { return ConnectionsJson(sources_.xds); });
  add_json("connections", "connected proxies", [this] { return ConnectionsJson(sources_.xds); });
  add_json("clusterz", "clusters of the mesh and how far they are read",
           [this] { return ClustersJson(sources_.registry); });
  add_json("registryz", "services of the mesh, merged over clusters",
           [snapshot] { return ServicesJson(snapshot()); });
  add_json("endpointShardz", "endpoints by host, namespace and cluster",
           [snapshot] { return EndpointShardsJson(snapshot()); });
  add_json("endpointz", "the same, by its old name",
           [snapshot] { return EndpointShardsJson(snapshot()); });
  add_json("networkz", "gateways of networks", [snapshot] { return NetworksJson(snapshot()); });
  add_json("configz", "configuration objects in force",
           [snapshot] { return ConfigsJson(snapshot()); });
  add_json("mesh", "the mesh configuration", [snapshot] { return MeshJson(snapshot()); });
  add_json("problemz", "objects that are left out, with the reasons", [this] {
    Json all = Json::object();
    for (const auto& [object, reason] : sources_.registry.Problems()) all[object] = reason;
    return all;
  });
  add("instancesz",
      "services of a proxy: ?proxyID=", [this, snapshot](const http::RequestHead& head) {
        const model::Snapshot& now = snapshot();
        return kubeapi::ToJson(now.endpoints == nullptr
                                   ? Json::object()
                                   : InstancesJson(now, sources_.xds, head.query_value("proxyID")),
                               kIndent);
      });
  add("config_dump",
      "what a proxy would be sent now: ?proxyID=", [this](const http::RequestHead& head) {
        return sources_.proxies.ConfigDumpJson(head.query_value("proxyID"));
      });
  add("edsz", "endpoints of a proxy: ?proxyID=", [this](const http::RequestHead& head) {
    return sources_.proxies.EndpointsJson(head.query_value("proxyID"));
  });
  add("ndsz", "names that a proxy resolves: ?proxyID=", [this](const http::RequestHead& head) {
    return sources_.proxies.NameTableJson(head.query_value("proxyID"));
  });
  add("list", "these pages", [this](const http::RequestHead&) { return List(); });
}

std::string DebugPages::List() const {
  std::string text;
  for (const Entry& entry : entries_)
    text += fmt::format("/debug/{:<16} {}\n", entry.name, entry.help);
  return text;
}

base::Result<std::string> DebugPages::Show(std::string_view path_and_query) const {
  http::RequestHead head;
  head.target = "/" + std::string(path_and_query);
  const std::string name = head.path().substr(1);
  for (const Entry& entry : entries_)
    if (entry.name == name) return entry.show(head);
  return base::Error(Code::kNotFound, "there is no debug page \"{}\"; there are:\n{}", name,
                     List());
}

Page DebugPages::Answer(const http::RequestHead& head) const {
  std::string_view target = head.target;
  base::ConsumePrefix(target, "/debug");
  base::ConsumePrefix(target, "/");
  if (target.empty()) return {200, "text/plain; charset=utf-8", List()};
  const auto body = Show(target);
  if (!body.ok())
    return {body.status().code() == Code::kInvalidArgument ? 400 : 404, "text/plain; charset=utf-8",
            body.status().message() + "\n"};
  const bool text = target.starts_with("list");
  return {200, text ? "text/plain; charset=utf-8" : "application/json", *body};
}

}  // namespace isthmus::controlplane
