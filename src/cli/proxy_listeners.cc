#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "cli/proxy_dump.h"

namespace isthmus::cli {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::StringAt;
using kubeapi::StringsAt;

constexpr std::string_view kHttpManager = "envoy.filters.network.http_connection_manager";
constexpr std::string_view kTcpProxy = "envoy.filters.network.tcp_proxy";

/// A filter by what it is, whatever its name.
bool IsFilter(const Json& filter, std::string_view type_end, std::string_view name) {
  const std::string type = StringAt(filter, {"typed_config", "@type"});
  return type.empty() ? StringAt(filter, {"name"}) == name : type.ends_with(type_end);
}
bool IsHttp(const Json& filter) { return IsFilter(filter, ".HttpConnectionManager", kHttpManager); }
bool IsTcp(const Json& filter) { return IsFilter(filter, ".TcpProxy", kTcpProxy); }

/// The chains of a listener, the default one last.
std::vector<const Json*> Chains(const Json& listener) {
  std::vector<const Json*> chains;
  for (const Json& chain : ItemsAt(listener, {"filter_chains"})) chains.push_back(&chain);
  if (const Json* chain = Find(listener, {"default_filter_chain"}); chain != nullptr)
    chains.push_back(chain);
  return chains;
}

std::string TypeOf(const Json& listener) {
  bool http = false, tcp = false;
  for (const Json* chain : Chains(listener))
    for (const Json& filter : ItemsAt(*chain, {"filters"})) {
      http = http || IsHttp(filter);
      tcp = tcp || IsTcp(filter);
    }
  return http ? (tcp ? "HTTP+TCP" : "HTTP") : tcp ? "TCP" : "UNKNOWN";
}

struct ListenerAddress {
  std::string text;
  int64_t port = 0;
};

ListenerAddress AddressOf(const Json& listener) {
  std::vector<std::string> texts;
  const auto add = [&](const Json* address) {
    if (address == nullptr) return;
    if (std::string text = StringAt(*address, {"socket_address", "address"}); !text.empty())
      texts.push_back(text);
    else if (std::string path = StringAt(*address, {"pipe", "path"}); !path.empty())
      texts.push_back("unix://" + path);
  };
  add(Find(listener, {"address"}));
  for (const Json& more : ItemsAt(listener, {"additional_addresses"})) add(Find(more, {"address"}));
  std::string text = base::Join(texts, ",");
  if (texts.empty()) text = Find(listener, {"internal_listener"}) != nullptr ? "internal" : "";
  return {text, IntAt(listener, {"address", "socket_address", "port_value"})};
}

/// The application protocols of a match, by the names of the sets that Istio uses.
std::string ProtocolsText(const std::vector<std::string>& protocols) {
  using Set = std::vector<std::string>;
  if (protocols == Set{"istio-http/1.0", "istio-http/1.1", "istio-h2"}) return "HTTP TLS";
  if (protocols == Set{"istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"})
    return "Istio HTTP Plain";
  if (protocols == Set{"http/1.0", "http/1.1", "h2c"}) return "HTTP";
  if (protocols == Set{"istio-peer-exchange", "istio"}) return "TCP TLS";
  return base::Join(protocols, ",");
}

std::string MatchText(const Json& chain) {
  std::vector<std::string> parts;
  const Json* match = Find(chain, {"filter_chain_match"});
  if (match == nullptr) return "ALL";
  if (const auto names = StringsAt(*match, {"server_names"}); !names.empty())
    parts.push_back("SNI: " + base::Join(names, ","));
  if (const std::string transport = StringAt(*match, {"transport_protocol"}); !transport.empty())
    parts.push_back("Trans: " + transport);
  if (const auto protocols = StringsAt(*match, {"application_protocols"}); !protocols.empty())
    parts.push_back("App: " + ProtocolsText(protocols));
  const int64_t port = IntAt(*match, {"destination_port"});
  const std::string port_text = port == 0 ? "" : fmt::format(":{}", port);
  std::vector<std::string> ranges;
  for (const Json& range : ItemsAt(*match, {"prefix_ranges"}))
    ranges.push_back(
        fmt::format("{}/{}", StringAt(range, {"address_prefix"}), IntAt(range, {"prefix_len"})));
  if (!ranges.empty())
    parts.push_back(fmt::format("Addr: {}{}", base::Join(ranges, ","), port_text));
  else if (port != 0)
    parts.push_back("Addr: *" + port_text);
  return parts.empty() ? "ALL" : base::Join(parts, "; ");
}

std::string ClusterText(const std::string& cluster) {
  return cluster.find("Cluster") != cluster.npos ? cluster : "Cluster: " + cluster;
}

std::string PathText(const Json& match) {
  if (const Json* prefix = Find(match, {"prefix"}); prefix != nullptr)
    return StringAt(match, {"prefix"}) + "*";
  if (Find(match, {"path"}) != nullptr) return StringAt(match, {"path"});
  if (Find(match, {"path_separated_prefix"}) != nullptr)
    return "PathPrefix:" + StringAt(match, {"path_separated_prefix"});
  if (Find(match, {"safe_regex"}) != nullptr)
    return "regex " + StringAt(match, {"safe_regex", "regex"});
  return "";
}

/// A route table within its listener: the cluster when it is a single one for all, else its paths.
std::string InlineText(const Json& config) {
  const std::vector<Json>& hosts = ItemsAt(config, {"virtual_hosts"});
  std::vector<std::string> parts;
  for (const Json& host : hosts) {
    const std::vector<Json>& routes = ItemsAt(host, {"routes"});
    const std::vector<std::string> domains = StringsAt(host, {"domains"});
    const bool all = domains == std::vector<std::string>{"*"};
    if (hosts.size() == 1 && routes.size() == 1 && all &&
        StringAt(routes[0], {"match", "prefix"}) == "/" && routes[0]["match"].size() == 1)
      if (const std::string cluster = StringAt(routes[0], {"route", "cluster"}); !cluster.empty())
        return ClusterText(cluster);
    std::vector<std::string> paths;
    for (const Json& route : routes)
      if (const Json* match = Find(route, {"match"}); match != nullptr)
        paths.push_back(PathText(*match));
    parts.push_back(all ? base::Join(paths, ", ")
                        : fmt::format("{} {}", base::Join(domains, "/"), base::Join(paths, ", ")));
  }
  return "Inline Route: " + base::Join(parts, "; ");
}

std::string DestinationText(const Json& chain) {
  for (const Json& filter : ItemsAt(chain, {"filters"})) {
    const Json* config = Find(filter, {"typed_config"});
    if (config == nullptr) continue;
    if (IsHttp(filter)) {
      if (const Json* inline_routes = Find(*config, {"route_config"}); inline_routes != nullptr)
        return InlineText(*inline_routes);
      return "Route: " + StringAt(*config, {"rds", "route_config_name"});
    }
    if (IsTcp(filter)) {
      if (const std::string cluster = StringAt(*config, {"cluster"}); !cluster.empty())
        return ClusterText(cluster);
      std::vector<std::string> clusters;
      for (const Json& weighted : ItemsAt(*config, {"weighted_clusters", "clusters"}))
        clusters.push_back(
            fmt::format("{} {}", StringAt(weighted, {"name"}), IntAt(weighted, {"weight"})));
      if (!clusters.empty()) return "Weighted Clusters: " + base::Join(clusters, ", ");
    }
  }
  return "Non-HTTP/Non-TCP";
}

// --- routes
// ---------------------------------------------------------------------------------------------

std::string WithoutPort(const std::string& domain) {
  const size_t colon = domain.rfind(':');
  const bool v6 = std::count(domain.begin(), domain.end(), ':') > 1 && !domain.ends_with(']') &&
                  domain[0] != '[';
  return colon == domain.npos || v6 || colon < domain.rfind(']') + 1 ? domain
                                                                     : domain.substr(0, colon);
}

/// A single domain as it is; of several the first two, longer forms of the same name left out.
std::string DomainsText(const std::vector<std::string>& domains) {
  if (domains.empty()) return "";
  if (domains.size() == 1) return domains[0];
  std::vector<std::string> names;
  for (const std::string& domain : domains) {
    std::string name = WithoutPort(domain);
    // "host." is the same name, spelt so that no search path is tried.
    if (name.size() > 1 && name.ends_with('.')) name.pop_back();
    if (std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(std::move(name));
  }
  const std::set<std::string> all(names.begin(), names.end());
  std::erase_if(names, [&all](const std::string& name) {
    for (const std::string_view suffix : {".svc.cluster.local", ".svc"})
      if (name.ends_with(suffix) && all.contains(name.substr(0, name.size() - suffix.size())))
        return true;
    return false;
  });
  if (names.size() == 1) return names[0];
  std::string text = names[0] + ", " + names[1];
  if (names.size() > 2) text += fmt::format(" + {} more...", names.size() - 2);
  return text;
}

std::string RouteMatchText(const Json& route) {
  const Json* match = Find(route, {"match"});
  if (match == nullptr) return "";
  std::vector<std::string> parts = {PathText(*match)};
  for (const Json& header : ItemsAt(*match, {"headers"}))
    parts.push_back("header " + StringAt(header, {"name"}));
  return base::Join(parts, " ");
}

}  // namespace

std::vector<Json> Listeners(const Json& dump, const ProxyFilter& filter) {
  std::vector<Json> found;
  for (const char* list : {"static_listeners", "dynamic_listeners"}) {
    ForEachIn(
        dump, "ListenersConfigDump", list, "listener", [&](const Json& listener, const Json&) {
          const ListenerAddress address = AddressOf(listener);
          if ((filter.address.empty() || base::EqualsIgnoreCase(filter.address, address.text)) &&
              (filter.port == 0 || filter.port == address.port) &&
              (filter.type.empty() || base::EqualsIgnoreCase(filter.type, TypeOf(listener))))
            found.push_back(listener);
        });
  }
  const auto key = [](const Json& listener) {
    const ListenerAddress address = AddressOf(listener);
    return std::pair(address.port, address.text);
  };
  std::stable_sort(found.begin(), found.end(),
                   [&](const Json& a, const Json& b) { return key(a) < key(b); });
  return found;
}

Rows ListenerRows(const std::vector<Json>& listeners, bool verbose) {
  Rows rows = {verbose ? std::vector<std::string>{"ADDRESSES", "PORT", "MATCH", "DESTINATION"}
                       : std::vector<std::string>{"ADDRESSES", "PORT", "TYPE"}};
  for (const Json& listener : listeners) {
    const ListenerAddress address = AddressOf(listener);
    if (!verbose) {
      rows.push_back({address.text, std::to_string(address.port), TypeOf(listener)});
      continue;
    }
    for (const Json* chain : Chains(listener))
      rows.push_back(
          {address.text, std::to_string(address.port), MatchText(*chain), DestinationText(*chain)});
  }
  return rows;
}

std::vector<Json> Routes(const Json& dump, const ProxyFilter& filter) {
  std::vector<Json> found;
  for (const char* list : {"static_route_configs", "dynamic_route_configs"}) {
    ForEachIn(dump, "RoutesConfigDump", list, "route_config", [&](const Json& route, const Json&) {
      if (filter.name.empty() || StringAt(route, {"name"}) == filter.name) found.push_back(route);
    });
  }
  const auto key = [](const Json& route) { return StringAt(route, {"name"}); };
  std::stable_sort(found.begin(), found.end(),
                   [&](const Json& a, const Json& b) { return key(a) < key(b); });
  return found;
}

Rows RouteRows(const std::vector<Json>& routes, bool verbose) {
  if (!verbose) {
    Rows rows = {{"NAME", "VIRTUAL HOSTS"}};
    for (const Json& route : routes)
      rows.push_back(
          {StringAt(route, {"name"}), std::to_string(ItemsAt(route, {"virtual_hosts"}).size())});
    return rows;
  }
  Rows rows = {{"NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"}};
  for (const Json& config : routes) {
    const std::string name = StringAt(config, {"name"});
    for (const Json& host : ItemsAt(config, {"virtual_hosts"})) {
      const std::string domains = DomainsText(StringsAt(host, {"domains"}));
      const std::string host_name = StringAt(host, {"name"});
      for (const Json& route : ItemsAt(host, {"routes"})) {
        if (StringAt(route, {"route", "cluster"}) == "PassthroughCluster") continue;
        rows.push_back({name, host_name, domains, RouteMatchText(route), MadeBy(route, "")});
      }
      if (ItemsAt(host, {"routes"}).empty())
        rows.push_back({name, host_name, domains, "/*", "404"});
    }
  }
  return rows;
}

}  // namespace isthmus::cli
