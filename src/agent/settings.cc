#include "agent/settings.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <algorithm>

#include "base/duration.h"
#include "base/files.h"
#include "base/net.h"
#include "base/strings.h"

extern char** environ;

namespace isthmus::agent {
namespace {

using base::Code;

void AppendUtf8(std::string& out, uint32_t rune) {
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xc0 | rune >> 6);
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xe0 | rune >> 12);
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | rune >> 18);
    out += static_cast<char>(0x80 | (rune >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  }
}

/// The number written in `digits` hexadecimal digits at the front of `text`, which is consumed.
std::optional<uint32_t> TakeHex(std::string_view& text, size_t digits) {
  if (text.size() < digits) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  text.remove_prefix(digits);
  return value;
}

std::optional<std::string> UnquoteGo(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return std::nullopt;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (text.empty()) return std::nullopt;
    const char escape = text.front();
    text.remove_prefix(1);
    constexpr std::string_view kPlain = "abfnrtv\\\"'";
    constexpr std::string_view kMeaning = "\a\b\f\n\r\t\v\\\"'";
    if (const size_t at = kPlain.find(escape); at != kPlain.npos) {
      out += kMeaning[at];
      continue;
    }
    const size_t digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
    const std::optional<uint32_t> rune = digits == 0 ? std::nullopt : TakeHex(text, digits);
    if (!rune || *rune > 0x10ffff) return std::nullopt;
    if (escape == 'x')
      out += static_cast<char>(*rune);
    else
      AppendUtf8(out, *rune);
  }
  return out;
}

std::string ReadOptional(const std::string& path) {
  base::Result<std::string> text = base::ReadFile(path);
  return text.ok() ? std::move(*text) : std::string();
}

base::Result<int> PortOf(const Environment& env, const std::string& name, int fallback) {
  const std::string text = env.Get(name);
  if (text.empty()) return fallback;
  ASSIGN_OR_RETURN(const int64_t port, base::ParseInt(text), "environment " + name);
  if (port < 0 || port > 65535)
    return base::Error(Code::kInvalidArgument, "environment {}: {} is not a port", name, port);
  return static_cast<int>(port);
}

base::Result<int> ConcurrencyOf(const ProxyFlags& flags, const ProxyConfig& proxy,
                                const Environment& env) {
  if (flags.concurrency >= 0) return flags.concurrency;
  if (proxy.concurrency > 0 || proxy.raw.contains("concurrency")) return proxy.concurrency;
  const std::string limit = env.Get("ISTIO_CPU_LIMIT");
  if (limit.empty()) return 0;
  ASSIGN_OR_RETURN(const int64_t cpus, base::ParseInt(limit), "environment ISTIO_CPU_LIMIT");
  return static_cast<int>(std::clamp<int64_t>(cpus, 0, 1024));
}

}  // namespace

Environment Environment::OfProcess() {
  std::map<std::string, std::string> values;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const auto [name, value] = base::Cut(*entry, "=");
    values.emplace(name, value);
  }
  return Environment(std::move(values));
}

std::string Environment::Get(const std::string& name, std::string_view fallback) const {
  const auto at = values_.find(name);
  return at == values_.end() || at->second.empty() ? std::string(fallback) : at->second;
}

bool Environment::GetBool(const std::string& name, bool fallback) const {
  const std::string value = base::ToLower(Get(name));
  if (value == "true" || value == "1" || value == "t") return true;
  if (value == "false" || value == "0" || value == "f") return false;
  return fallback;
}

base::Result<std::chrono::nanoseconds> Environment::GetDuration(
    const std::string& name, std::chrono::nanoseconds fallback) const {
  const std::string text = Get(name);
  if (text.empty()) return fallback;
  base::Result<base::Duration> duration = base::ParseDuration(text);
  if (!duration.ok()) return duration.status().In("environment " + name);
  return duration;
}

std::map<std::string, std::string> ParsePodInfo(std::string_view text) {
  std::map<std::string, std::string> values;
  for (const std::string_view line : base::Split(text, '\n')) {
    const auto [key, quoted] = base::Cut(line, "=");
    if (std::optional<std::string> value = UnquoteGo(base::Trim(quoted)); value && !key.empty())
      values.emplace(base::Trim(key), std::move(*value));
  }
  return values;
}

std::vector<std::string> InterfaceIps() {
  std::vector<std::string> ips;
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return ips;
  for (const ifaddrs* at = first; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_LOOPBACK) != 0 ||
        (at->ifa_flags & IFF_UP) == 0)
      continue;
    if (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6) continue;
    const std::string ip = base::SocketAddress(at->ifa_addr).ip();
    if (!ip.starts_with("169.254.") && !ip.starts_with("fe80:")) ips.push_back(ip);
  }
  freeifaddrs(first);
  return ips;
}

std::string Settings::spiffe_id() const {
  return fmt::format("spiffe://{}/ns/{}/sa/{}", trust_domain, pod_namespace, service_account);
}

std::string Settings::node_id() const {
  return fmt::format("{}~{}~{}.{}~{}", type, ips.empty() ? "127.0.0.1" : ips.front(), pod_name,
                     pod_namespace, domain);
}

base::Result<Settings> LoadSettings(const ProxyFlags& flags, Environment env,
                                    const std::vector<std::string>& interface_ips) {
  if (flags.type != "sidecar" && flags.type != "router" && flags.type != "waypoint")
    return base::Error(Code::kInvalidArgument,
                       "proxy type \"{}\" is not one of sidecar, router, waypoint", flags.type);
  Settings settings;
  settings.type = flags.type;
  settings.labels = ParsePodInfo(ReadOptional("./etc/istio/pod/labels"));
  settings.annotations = ParsePodInfo(ReadOptional("./etc/istio/pod/annotations"));
  ProxyConfigSources sources;
  sources.mesh_file = ReadOptional(flags.mesh_config);
  sources.environment = env.Get("PROXY_CONFIG");
  sources.annotation = base::ValueOf(settings.annotations, "proxy.istio.io/config");
  sources.discovery_address =
      base::ValueOf(settings.annotations, "sidecar.istio.io/discoveryAddress");
  sources.status_port = base::ValueOf(settings.annotations, "status.sidecar.istio.io/port");
  ASSIGN_OR_RETURN(settings.proxy, AssembleProxyConfig(sources), "ProxyConfig");
  if (!flags.service_cluster.empty()) settings.proxy.service_cluster = flags.service_cluster;
  // The injector sets proxyMetadata as environment already; outside Kubernetes only the file has
  // it.
  for (const auto& [name, value] : settings.proxy.metadata) env.SetDefault(name, value);

  settings.pod_name = env.Get("POD_NAME");
  settings.pod_namespace = env.Get("POD_NAMESPACE", "default");
  settings.service_account = env.Get("SERVICE_ACCOUNT", "default");
  settings.trust_domain = env.Get("TRUST_DOMAIN", "cluster.local");
  settings.cluster_id = env.Get("ISTIO_META_CLUSTER_ID", "Kubernetes");
  settings.domain = flags.domain;
  if (settings.domain.empty()) settings.domain = settings.pod_namespace + ".svc.cluster.local";
  if (const std::string ip = env.Get("INSTANCE_IP"); !ip.empty()) {
    for (const std::string& part : base::SplitList(ip)) {
      if (!base::IsIpAddress(part))
        return base::Error(Code::kInvalidArgument,
                           "environment INSTANCE_IP: \"{}\" is not an IP address", part);
      settings.ips.push_back(part);
    }
  }
  for (const std::string& ip : interface_ips)
    if (std::find(settings.ips.begin(), settings.ips.end(), ip) == settings.ips.end())
      settings.ips.push_back(ip);

  const size_t colon = flags.log_level.find(':');
  settings.log_level = colon == std::string::npos ? flags.log_level : "warning";
  settings.component_log_level =
      colon == std::string::npos ? flags.component_log_level : flags.log_level;
  settings.outlier_log_path = flags.outlier_log_path;
  ASSIGN_OR_RETURN(settings.concurrency, ConcurrencyOf(flags, settings.proxy, env), "settings");
  settings.delta_xds = env.GetBool("ISTIO_DELTA_XDS", true);
  settings.dns_capture = env.GetBool("ISTIO_META_DNS_CAPTURE", false) ||
                         env.GetBool("ISTIO_META_ENABLE_DNS_SERVER", false);
  ASSIGN_OR_RETURN(settings.envoy_status_port, PortOf(env, "ENVOY_STATUS_PORT", 15021), "settings");
  ASSIGN_OR_RETURN(settings.envoy_prometheus_port, PortOf(env, "ENVOY_PROMETHEUS_PORT", 15090),
                   "settings");
  settings.env = std::move(env);
  return settings;
}

}  // namespace isthmus::agent
