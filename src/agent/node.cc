#include <algorithm>

#include "agent/bootstrap.h"
#include "base/strings.h"
#include "base/version.h"

namespace isthmus::agent {
namespace {

std::string NodeCluster(const Settings& settings) {
  const std::string& own = settings.proxy.service_cluster;
  if (!own.empty() && own != "istio-proxy") return own;
  std::string name = base::ValueOf(settings.labels, "app");
  if (name.empty()) name = settings.env.Get("ISTIO_META_WORKLOAD_NAME");
  if (name.empty()) name = "istio-proxy";
  return settings.pod_namespace.empty() ? name : name + "." + settings.pod_namespace;
}

Json Locality(const Settings& settings) {
  std::string text = base::ValueOf(settings.labels, "topology.istio.io/locality");
  if (text.empty()) text = base::ValueOf(settings.labels, "istio-locality");
  if (text.empty()) return nullptr;
  // Label values may not hold slashes.
  if (text.find('/') == text.npos) std::replace(text.begin(), text.end(), '.', '/');
  Json locality = Json::object();
  const std::vector<std::string_view> parts = base::Split(text, '/');
  constexpr const char* kNames[] = {"region", "zone", "sub_zone"};
  for (size_t i = 0; i < std::min<size_t>(parts.size(), 3); ++i)
    if (!parts[i].empty()) locality[kNames[i]] = std::string(parts[i]);
  return locality;
}

/// ISTIO_METAJSON_*: each is a JSON object whose fields become metadata.
base::Status AddJsonMetadata(const Environment& env, Json& metadata) {
  constexpr std::string_view kPrefix = "ISTIO_METAJSON_";
  for (const auto& [name, value] : env.all()) {
    if (!name.starts_with(kPrefix) || value.empty()) continue;
    ASSIGN_OR_RETURN(Json parsed, kubeapi::ParseJson(value), "environment " + name);
    if (!parsed.is_object())
      return base::Error(base::Code::kInvalidArgument, "environment {} is not a JSON object", name);
    if (name == "ISTIO_METAJSON_LABELS") {
      metadata["LABELS"] = parsed;
      metadata["STATIC_LABELS"] = parsed;
    } else {
      metadata.update(parsed);
    }
  }
  return {};
}

}  // namespace

base::Result<Json> MakeNode(const Settings& settings) {
  Json metadata = Json::object();
  constexpr std::string_view kPrefix = "ISTIO_META_";
  for (const auto& [name, value] : settings.env.all())
    if (name.starts_with(kPrefix) && name.size() > kPrefix.size())
      metadata[name.substr(kPrefix.size())] = value;
  RETURN_IF_ERROR(AddJsonMetadata(settings.env, metadata), "node metadata");

  Json labels = metadata.contains("LABELS") ? metadata["LABELS"] : Json::object();
  for (const auto& [key, value] : settings.labels)
    if (key != "pod-template-hash") labels[key] = value;
  metadata["LABELS"] = std::move(labels);
  if (!settings.annotations.empty()) metadata["ANNOTATIONS"] = settings.annotations;

  if (!metadata.contains("ISTIO_VERSION")) metadata["ISTIO_VERSION"] = std::string(base::kVersion);
  if (const std::string revision = settings.env.Get("REVISION"); !revision.empty())
    metadata["ISTIO_REVISION"] = revision;
  metadata["PROXY_CONFIG"] = settings.proxy.raw;
  metadata["NAME"] = settings.pod_name;
  metadata["NAMESPACE"] = settings.pod_namespace;
  metadata["SERVICE_ACCOUNT"] = settings.service_account;
  metadata["CLUSTER_ID"] = settings.cluster_id;
  metadata["INSTANCE_IPS"] = base::Join(settings.ips, ",");
  const std::string host =
      settings.proxy.discovery_address.substr(0, settings.proxy.discovery_address.rfind(':'));
  metadata["PILOT_SAN"] = Json::array({settings.env.Get("ISTIOD_SAN", host)});
  metadata["ENVOY_STATUS_PORT"] = settings.envoy_status_port;
  metadata["ENVOY_PROMETHEUS_PORT"] = settings.envoy_prometheus_port;

  Json node = {{"id", settings.node_id()},
               {"cluster", NodeCluster(settings)},
               {"metadata", std::move(metadata)}};
  if (Json locality = Locality(settings); !locality.is_null())
    node["locality"] = std::move(locality);
  return node;
}

}  // namespace isthmus::agent
