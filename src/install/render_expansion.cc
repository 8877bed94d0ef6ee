#include "install/render_parts.h"

namespace isthmus::install {

bool ExpandsMesh(const Installation& installation) {
  return kubeapi::BoolAt(installation.values, {"global", "meshExpansion", "enabled"}) &&
         installation.Enabled("pilot");
}

std::vector<Json> RenderExpansion(const Installation& installation) {
  constexpr std::string_view kNetworking = "networking.istio.io/v1";
  struct Way {
    std::string name;
    int port;
    int service_port;
  };
  const Way ways[] = {{"tls-istiod", 15012, 15012}, {"tls-istiodwebhook", 15017, 443}};
  const std::string host =
      "istiod" + Suffix(installation) + "." + installation.ns + ".svc.cluster.local";
  Json gateway = NewObject(installation, kNetworking, "Gateway", "meshexpansion-gateway", true);
  Json routes = NewObject(installation, kNetworking, "VirtualService", "meshexpansion-vs", true);
  gateway["spec"] = {{"selector", {{"istio", "ingressgateway"}}}, {"servers", Json::array()}};
  routes["spec"] = {
      {"hosts", {"*"}}, {"gateways", {"meshexpansion-gateway"}}, {"tls", Json::array()}};
  for (const Way& way : ways) {
    gateway["spec"]["servers"].push_back(
        {{"port", {{"name", way.name}, {"number", way.port}, {"protocol", "TLS"}}},
         {"tls", {{"mode", "PASSTHROUGH"}}},
         {"hosts", {"*"}}});
    Json destination = {{"host", host}, {"port", {{"number", way.service_port}}}};
    routes["spec"]["tls"].push_back(
        {{"match", Json::array({{{"port", way.port}, {"sniHosts", {"*"}}}})},
         {"route", Json::array({{{"destination", std::move(destination)}}})}});
  }
  return {std::move(gateway), std::move(routes)};
}

}  // namespace isthmus::install
