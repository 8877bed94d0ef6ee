#include "cli/proxy_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>

#include "base/strings.h"

namespace isthmus::cli {

using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

namespace {

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

std::string_view LastPart(std::string_view text, char divider) {
  const size_t at = text.rfind(divider);
  return at == text.npos ? text : text.substr(at + 1);
}

/// "10.1.2.3:80", "unix://path", "envoy://listener/id", or "unknown".
struct EndpointAddress {
  std::string text = "unknown";
  std::string ip;
  int64_t port = 0;

  explicit EndpointAddress(const Json* address) {
    if (address == nullptr) return;
    if (Find(*address, {"socket_address"}) != nullptr) {
      ip = StringAt(*address, {"socket_address", "address"});
      port = IntAt(*address, {"socket_address", "port_value"});
      text = fmt::format("{}:{}", ip, port);
    } else if (Find(*address, {"pipe"}) != nullptr) {
      ip = StringAt(*address, {"pipe", "path"});
      text = "unix://" + ip;
    } else if (const Json* internal = Find(*address, {"envoy_internal_address"});
               internal != nullptr) {
      ip = StringAt(*internal, {"server_listener_name"});
      text = fmt::format("envoy://{}/{}", ip, StringAt(*internal, {"endpoint_id"}));
    }
  }
};

std::string HealthOf(const Json& host) {
  const std::string status = StringAt(host, {"health_status", "eds_health_status"});
  return status.empty() ? "UNKNOWN" : status;
}

struct EndpointRow {
  std::string address_text, ip, status, outlier, cluster;
  int64_t port;
};

bool Passes(const EndpointAddress& address, const std::string& status, const std::string& cluster,
            const ProxyFilter& filter) {
  return (filter.address.empty() || filter.address == address.ip ||
          filter.address == address.text) &&
         (filter.port == 0 || filter.port == address.port) &&
         (filter.cluster.empty() || base::EqualsIgnoreCase(filter.cluster, cluster)) &&
         (filter.status.empty() || base::EqualsIgnoreCase(filter.status, status));
}

}  // namespace

ClusterName ClusterName::Parse(std::string_view name) {
  const std::vector<std::string_view> parts = base::Split(name, '|');
  if (parts.size() != 4) return {"-", "-", std::string(name), "-"};
  return {std::string(parts[0]), parts[2].empty() ? "-" : std::string(parts[2]),
          std::string(parts[3]), std::string(parts[1])};
}

void ForEachIn(const Json& dump, std::string_view section, std::string_view list,
               std::string_view inner, const std::function<void(const Json&, const Json&)>& call) {
  for (const Json& config : ItemsAt(dump, {"configs"})) {
    if (!StringAt(config, {"@type"}).ends_with(section)) continue;
    for (const Json& entry : ItemsAt(config, {list})) {
      const Json* resource = Find(entry, {inner});
      if (resource == nullptr) resource = Find(entry, {"active_state", inner});
      if (resource == nullptr) resource = Find(entry, {"warming_state", inner});
      if (resource != nullptr) call(*resource, entry);
    }
  }
}

std::string MadeBy(const Json& resource, std::string_view fallback) {
  // /apis/networking.istio.io/v1/namespaces/NAMESPACE/KIND/NAME
  const std::string config = StringAt(resource, {"metadata", "filter_metadata", "istio", "config"});
  const std::vector<std::string_view> parts = base::Split(config, '/');
  if (config.empty()) return std::string(fallback);
  if (parts.size() != 8) return "<unknown>";
  return fmt::format("{}.{}", parts[7], parts[5]);
}

std::vector<Json> Clusters(const Json& dump, const ProxyFilter& filter) {
  std::vector<Json> found;
  for (const char* list :
       {"static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"}) {
    ForEachIn(dump, "ClustersConfigDump", list, "cluster", [&](const Json& cluster, const Json&) {
      const ClusterName name = ClusterName::Parse(StringAt(cluster, {"name"}));
      if (Contains(name.fqdn, filter.fqdn) &&
          (filter.direction.empty() || Contains(name.direction, filter.direction)) &&
          (filter.subset.empty() || Contains(name.subset, filter.subset)) &&
          (filter.port == 0 || name.port == std::to_string(filter.port)))
        found.push_back(cluster);
    });
  }
  const auto key = [](const Json& cluster) {
    const ClusterName name = ClusterName::Parse(StringAt(cluster, {"name"}));
    return std::tuple(name.fqdn, name.port.size(), name.port, name.subset, name.direction);
  };
  std::stable_sort(found.begin(), found.end(),
                   [&](const Json& a, const Json& b) { return key(a) < key(b); });
  return found;
}

Rows ClusterRows(const std::vector<Json>& clusters) {
  Rows rows = {{"SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"}};
  for (const Json& cluster : clusters) {
    const ClusterName name = ClusterName::Parse(StringAt(cluster, {"name"}));
    std::string type = StringAt(cluster, {"type"});
    if (const std::string custom = StringAt(cluster, {"cluster_type", "name"}); !custom.empty())
      type = custom;
    if (type.empty()) type = "STATIC";
    rows.push_back({name.fqdn, name.port, name.subset, name.direction, type, MadeBy(cluster, "")});
  }
  return rows;
}

std::vector<Json> Endpoints(const Json& clusters, const ProxyFilter& filter) {
  std::vector<Json> found;
  for (const Json& cluster : ItemsAt(clusters, {"cluster_statuses"})) {
    Json kept = Json::array();
    for (const Json& host : ItemsAt(cluster, {"host_statuses"}))
      if (Passes(EndpointAddress(Find(host, {"address"})), HealthOf(host),
                 StringAt(cluster, {"name"}), filter))
        kept.push_back(host);
    if (kept.empty()) continue;
    Json part = cluster;
    part["host_statuses"] = std::move(kept);
    found.push_back(std::move(part));
  }
  return found;
}

Rows EndpointRows(const Json& clusters, const ProxyFilter& filter) {
  std::vector<EndpointRow> found;
  for (const Json& cluster : ItemsAt(clusters, {"cluster_statuses"})) {
    const std::string name = StringAt(cluster, {"name"});
    for (const Json& host : ItemsAt(cluster, {"host_statuses"})) {
      const EndpointAddress address(Find(host, {"address"}));
      const std::string status = HealthOf(host);
      if (!Passes(address, status, name, filter)) continue;
      const bool failed = kubeapi::BoolAt(host, {"health_status", "failed_outlier_check"});
      found.push_back(
          {address.text, address.ip, status, failed ? "FAILED" : "OK", name, address.port});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const EndpointRow& a, const EndpointRow& b) {
    return std::tie(a.ip, a.port, a.cluster) < std::tie(b.ip, b.port, b.cluster);
  });
  Rows rows = {{"ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"}};
  for (EndpointRow& row : found)
    rows.push_back({std::move(row.address_text), std::move(row.status), std::move(row.outlier),
                    std::move(row.cluster)});
  return rows;
}

Rows EdsRows(const Json& dump, const ProxyFilter& filter) {
  Rows found;
  for (const char* list : {"static_endpoint_configs", "dynamic_endpoint_configs"}) {
    ForEachIn(dump, "EndpointsConfigDump", list, "endpoint_config",
              [&](const Json& load, const Json&) {
                const std::string cluster = StringAt(load, {"cluster_name"});
                for (const Json& group : ItemsAt(load, {"endpoints"})) {
                  std::vector<std::string> places;
                  for (const char* part : {"region", "zone", "sub_zone"})
                    if (std::string place = StringAt(group, {"locality", part}); !place.empty())
                      places.push_back(std::move(place));
                  for (const Json& endpoint : ItemsAt(group, {"lb_endpoints"})) {
                    const EndpointAddress address(Find(endpoint, {"endpoint", "address"}));
                    std::string status = StringAt(endpoint, {"health_status"});
                    if (status.empty() || status == "UNKNOWN") status = "HEALTHY";
                    if (Passes(address, status, cluster, filter))
                      found.push_back({address.text, status, base::Join(places, "/"), cluster});
                  }
                }
              });
  }
  std::stable_sort(found.begin(), found.end());
  Rows rows = {{"NAME", "STATUS", "LOCALITY", "CLUSTER"}};
  std::move(found.begin(), found.end(), std::back_inserter(rows));
  return rows;
}

Json Bootstrap(const Json& dump) {
  for (const Json& config : ItemsAt(dump, {"configs"}))
    if (StringAt(config, {"@type"}).ends_with("BootstrapConfigDump")) return config;
  return Json::object();
}

Rows EcdsRows(const Json& dump) {
  Rows rows = {{"ECDS NAME", "TYPE"}};
  ForEachIn(dump, "EcdsConfigDump", "ecds_filters", "ecds_filter",
            [&](const Json& filter, const Json&) {
              const std::string type = StringAt(filter, {"typed_config", "@type"});
              rows.push_back({StringAt(filter, {"name"}), std::string(LastPart(type, '/'))});
            });
  std::sort(rows.begin() + 1, rows.end());
  return rows;
}

}  // namespace isthmus::cli
