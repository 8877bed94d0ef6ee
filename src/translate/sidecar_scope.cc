#include "translate/sidecar_scope.h"

#include "istio/networking/v1/sidecar.pb.h"
#include "translate/names.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {

namespace v1 = istio::networking::v1;

namespace {

/// Where the application is; empty for the port that the caller dialled, at the workload's own
/// address.
std::string IngressEndpoint(const std::string& text, int port) {
  if (text.starts_with("0.0.0.0:") || text.starts_with("[::]:")) {
    const std::string number = text.substr(text.rfind(':') + 1);
    return number == std::to_string(port) ? "" : "127.0.0.1:" + number;
  }
  return text;
}

}  // namespace

bool SidecarScope::Admits(const std::string& proxy_ns, const std::string& ns,
                          const std::string& host) const {
  if (egress.empty()) return true;
  for (const Egress& entry : egress) {
    const bool space = entry.ns == "*" || entry.ns == ns || (entry.ns == "." && ns == proxy_ns);
    if (space && HostCovers(entry.host, host)) return true;
  }
  return false;
}

SidecarIndex::SidecarIndex(const model::Configs& configs, std::string root_namespace)
    : root_namespace_(std::move(root_namespace)) {
  if (configs.sidecars == nullptr) return;
  for (const auto& object : *configs.sidecars) {
    auto scope = std::make_shared<SidecarScope>();
    scope->object = object;
    for (const v1::IstioEgressListener& listener : object->spec.egress()) {
      for (const std::string& host : listener.hosts()) {
        const size_t slash = host.find('/');
        if (slash == std::string::npos) {
          scope->egress.push_back({"*", host});
        } else {
          scope->egress.push_back({host.substr(0, slash), host.substr(slash + 1)});
        }
      }
    }
    for (const v1::IstioIngressListener& listener : object->spec.ingress()) {
      SidecarScope::Ingress ingress;
      ingress.port = static_cast<int>(listener.port().number());
      ingress.protocol =
          model::ProtocolFromName(listener.port().protocol()).value_or(model::Protocol::kAuto);
      ingress.endpoint = IngressEndpoint(listener.default_endpoint(), ingress.port);
      auto service = std::make_shared<model::Service>();
      service->name = listener.port().name();
      service->ns = object->meta.ns;
      service->hostname = object->meta.name + "." + object->meta.ns;
      model::Port port;
      port.name = listener.port().name();
      port.number = port.target = ingress.port;
      service->ports.push_back(port);
      ingress.service = std::move(service);
      scope->ingress.push_back(std::move(ingress));
    }
    if (object->spec.has_outbound_traffic_policy()) {
      scope->allow_any =
          object->spec.outbound_traffic_policy().mode() == v1::OutboundTrafficPolicy::ALLOW_ANY;
    }
    by_name_[object->meta.ns + "/" + object->meta.name] = scope;
    namespaces_[object->meta.ns].push_back(std::move(scope));
  }
}

std::string SidecarIndex::NameFor(const std::string& ns, const model::Labels& labels) const {
  auto name = [](const SidecarScope& scope) {
    return scope.object->meta.ns + "/" + scope.object->meta.name;
  };
  auto pick = [&](const std::string& from, bool selecting) -> const SidecarScope* {
    auto found = namespaces_.find(from);
    if (found == namespaces_.end()) return nullptr;
    for (const auto& scope : found->second) {
      const auto& selector = scope->object->spec.workload_selector().labels();
      if (selecting == selector.empty()) continue;
      if (!selecting || SelectsMap(selector, labels)) return scope.get();
    }
    return nullptr;
  };
  if (const SidecarScope* scope = pick(ns, true)) return name(*scope);
  if (const SidecarScope* scope = pick(ns, false)) return name(*scope);
  if (const SidecarScope* scope = pick(root_namespace_, false)) return name(*scope);
  return "";
}

std::shared_ptr<const SidecarScope> SidecarIndex::Find(const std::string& name) const {
  auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace isthmus::translate
