#include "config/kinds.h"

#include <algorithm>
#include <cctype>

namespace isthmus::config {
namespace {

PrinterColumn Age() {
  return {"Age", ".metadata.creationTimestamp", "Time since it was created.", "date"};
}

Kind Networking(std::string kind, std::string plural, std::vector<std::string> short_names,
                std::string description, std::vector<PrinterColumn> columns) {
  std::string singular = kind;
  std::transform(singular.begin(), singular.end(), singular.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  std::string message = "istio.networking.v1." + kind;
  return {"networking.istio.io", std::move(kind),        std::move(plural),
          std::move(singular),   std::move(short_names), {"v1", "v1beta1", "v1alpha3"},
          std::move(message),    std::move(description), std::move(columns)};
}

Kind Security(std::string kind, std::string plural, std::vector<std::string> short_names,
              std::string description, std::vector<PrinterColumn> columns) {
  Kind row = Networking(std::move(kind), std::move(plural), std::move(short_names),
                        std::move(description), std::move(columns));
  row.group = "security.istio.io";
  row.message = "istio.security.v1." + row.kind;
  row.versions = {"v1", "v1beta1"};
  return row;
}

std::vector<Kind> MakeKinds() {
  std::vector<Kind> kinds = {
      Networking("VirtualService", "virtualservices", {"vs"},
                 "How requests for some hosts are routed.",
                 {{"Gateways", ".spec.gateways",
                   "The gateways and sidecars that should apply these routes."},
                  {"Hosts", ".spec.hosts", "The hosts that these routes are for."},
                  Age()}),
      Networking("DestinationRule", "destinationrules", {"dr"},
                 "What happens to traffic after it is routed.",
                 {{"Host", ".spec.host", "The host that the rule is for."}, Age()}),
      Networking("Gateway", "gateways", {"gw"}, "What a gateway workload listens on.", {Age()}),
      Networking("ServiceEntry", "serviceentries", {"se"},
                 "A service that Kubernetes does not know.",
                 {{"Hosts", ".spec.hosts", "The hosts of the entry."},
                  {"Location", ".spec.location", "Inside or outside of the mesh."},
                  {"Resolution", ".spec.resolution", "How addresses are found."},
                  Age()}),
      Networking("WorkloadEntry", "workloadentries", {"we"}, "A workload that is no pod.",
                 {Age(), {"Address", ".spec.address", "Address of the workload."}}),
      Networking("WorkloadGroup", "workloadgroups", {"wg"},
                 "The pattern of workload entries that join.", {Age()}),
      Networking("Sidecar", "sidecars", {}, "What sidecars listen on and see.", {Age()}),
      Networking("EnvoyFilter", "envoyfilters", {}, "Patches to generated Envoy configuration.",
                 {Age()}),
      Networking("ProxyConfig", "proxyconfigs", {}, "Settings of the proxies of some workloads.",
                 {Age()}),
      Security("PeerAuthentication", "peerauthentications", {"pa"},
               "Whether workloads demand mutual TLS.",
               {{"Mode", ".spec.mtls.mode", "The mutual TLS mode."}, Age()}),
      Security("RequestAuthentication", "requestauthentications", {"ra"},
               "Which end-user tokens are checked.", {Age()}),
      Security("AuthorizationPolicy", "authorizationpolicies", {"ap"}, "Who may call what.",
               {{"Action", ".spec.action", "What a matching rule does."}, Age()}),
      {"telemetry.istio.io",
       "Telemetry",
       "telemetries",
       "telemetry",
       {"telemetry"},
       {"v1", "v1alpha1"},
       "istio.telemetry.v1.Telemetry",
       "Tracing, metrics and access logs of some workloads.",
       {Age()}},
      {"extensions.istio.io",
       "WasmPlugin",
       "wasmplugins",
       "wasmplugin",
       {},
       {"v1alpha1"},
       "istio.extensions.v1alpha1.WasmPlugin",
       "A WebAssembly filter for some proxies.",
       {Age()}},
  };
  for (Kind& kind : kinds) {
    if (kind.kind == "EnvoyFilter") kind.versions = {"v1alpha3"};
    if (kind.kind == "ProxyConfig") kind.versions = {"v1beta1"};
  }
  return kinds;
}

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

}  // namespace

kubeapi::Resource Kind::resource() const { return {group, versions.front(), plural, kind, true}; }

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind>& kinds = *new std::vector<Kind>(MakeKinds());
  return kinds;
}

const Kind* FindKind(std::string_view group, std::string_view kind) {
  for (const Kind& row : Kinds())
    if (row.group == group && row.kind == kind) return &row;
  return nullptr;
}

const Kind* FindKindByName(std::string_view name) {
  for (const Kind& row : Kinds()) {
    if (SameName(row.kind, name) || SameName(row.plural, name) || SameName(row.singular, name))
      return &row;
    for (const std::string& alias : row.short_names)
      if (SameName(alias, name)) return &row;
  }
  return nullptr;
}

}  // namespace isthmus::config
