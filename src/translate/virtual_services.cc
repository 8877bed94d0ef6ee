#include "translate/virtual_services.h"

#include <algorithm>

#include "istio/networking/v1/virtual_service.pb.h"
#include "translate/names.h"
#include "translate/visibility.h"

namespace isthmus::translate {
namespace {

namespace v1 = istio::networking::v1;
using Object = config::Object<v1::VirtualService>;
using ObjectPtr = std::shared_ptr<const Object>;

/// "mesh", or "namespace/name" with the namespace of the object that says it.
std::string GatewayName(const std::string& name, const std::string& ns) {
  if (name == "mesh" || name.find('/') != std::string::npos) return name;
  return ns + "/" + name;
}

void FullDestination(const std::string& ns, const MeshSettings& mesh,
                     v1::Destination* destination) {
  destination->set_host(FullHost(destination->host(), ns, mesh.domain_suffix));
}

/// Makes hosts and gateway names full in the namespace of the object that holds the route.
void FullNames(const std::string& ns, const MeshSettings& mesh, v1::HTTPRoute* route) {
  for (auto& destination : *route->mutable_route()) {
    FullDestination(ns, mesh, destination.mutable_destination());
  }
  if (route->has_mirror()) FullDestination(ns, mesh, route->mutable_mirror());
  for (auto& mirror : *route->mutable_mirrors())
    FullDestination(ns, mesh, mirror.mutable_destination());
  for (auto& match : *route->mutable_match()) {
    for (std::string& gateway : *match.mutable_gateways()) gateway = GatewayName(gateway, ns);
  }
}

template <typename Route>
void FullNamesL4(const std::string& ns, const MeshSettings& mesh, Route* route) {
  for (auto& destination : *route->mutable_route()) {
    FullDestination(ns, mesh, destination.mutable_destination());
  }
  for (auto& match : *route->mutable_match()) {
    for (std::string& gateway : *match.mutable_gateways()) gateway = GatewayName(gateway, ns);
  }
}

bool SamePattern(const v1::StringMatch& a, const v1::StringMatch& b) {
  return a.match_type_case() == b.match_type_case() && a.exact() == b.exact() &&
         a.prefix() == b.prefix() && a.regex() == b.regex();
}

/// The narrower of two path conditions; false when nothing satisfies both as far as can be told.
bool JoinUri(const v1::HTTPMatchRequest& root, v1::HTTPMatchRequest* leaf) {
  if (!root.has_uri()) return true;
  if (!leaf->has_uri()) {
    *leaf->mutable_uri() = root.uri();
    return true;
  }
  const v1::StringMatch& outer = root.uri();
  const v1::StringMatch& inner = leaf->uri();
  if (SamePattern(outer, inner)) return true;
  if (outer.match_type_case() != v1::StringMatch::kPrefix) return false;
  if (inner.match_type_case() == v1::StringMatch::kPrefix)
    return inner.prefix().starts_with(outer.prefix());
  return inner.match_type_case() == v1::StringMatch::kExact &&
         inner.exact().starts_with(outer.prefix());
}

bool JoinText(const v1::StringMatch& root, bool root_has, bool leaf_has, v1::StringMatch* leaf) {
  if (!root_has) return true;
  if (leaf_has) return SamePattern(root, *leaf);
  *leaf = root;
  return true;
}

template <typename Map>
bool JoinMap(const Map& root, Map* leaf) {
  for (const auto& [key, value] : root) {
    auto found = leaf->find(key);
    if (found == leaf->end()) {
      (*leaf)[key] = value;
    } else if (!SamePattern(found->second, value)) {
      return false;
    }
  }
  return true;
}

/// Both conditions at once; false when they contradict each other.
bool JoinMatch(const v1::HTTPMatchRequest& root, v1::HTTPMatchRequest* leaf) {
  if (!JoinUri(root, leaf)) return false;
  if (!JoinText(root.scheme(), root.has_scheme(), leaf->has_scheme(), leaf->mutable_scheme()))
    return false;
  if (!root.has_scheme() && leaf->scheme().match_type_case() == 0) leaf->clear_scheme();
  if (!JoinText(root.method(), root.has_method(), leaf->has_method(), leaf->mutable_method()))
    return false;
  if (leaf->method().match_type_case() == 0) leaf->clear_method();
  if (!JoinText(root.authority(), root.has_authority(), leaf->has_authority(),
                leaf->mutable_authority()))
    return false;
  if (leaf->authority().match_type_case() == 0) leaf->clear_authority();
  if (!JoinMap(root.headers(), leaf->mutable_headers())) return false;
  if (!JoinMap(root.without_headers(), leaf->mutable_without_headers())) return false;
  if (!JoinMap(root.query_params(), leaf->mutable_query_params())) return false;
  if (root.port() != 0 && leaf->port() != 0 && root.port() != leaf->port()) return false;
  if (root.port() != 0) leaf->set_port(root.port());
  for (const auto& [key, value] : root.source_labels()) {
    auto [found, fresh] = leaf->mutable_source_labels()->insert({key, value});
    if (!fresh && found->second != value) return false;
  }
  if (!root.source_namespace().empty()) {
    if (!leaf->source_namespace().empty() && leaf->source_namespace() != root.source_namespace())
      return false;
    leaf->set_source_namespace(root.source_namespace());
  }
  if (leaf->gateways().empty()) *leaf->mutable_gateways() = root.gateways();
  if (leaf->name().empty()) leaf->set_name(root.name());
  leaf->set_ignore_uri_case(leaf->ignore_uri_case() || root.ignore_uri_case());
  return true;
}

void Inherit(const v1::HTTPRoute& root, v1::HTTPRoute* leaf) {
  if (!leaf->has_rewrite() && root.has_rewrite()) *leaf->mutable_rewrite() = root.rewrite();
  if (!leaf->has_timeout() && root.has_timeout()) *leaf->mutable_timeout() = root.timeout();
  if (!leaf->has_retries() && root.has_retries()) *leaf->mutable_retries() = root.retries();
  if (!leaf->has_fault() && root.has_fault()) *leaf->mutable_fault() = root.fault();
  if (!leaf->has_cors_policy() && root.has_cors_policy())
    *leaf->mutable_cors_policy() = root.cors_policy();
  if (!leaf->has_headers() && root.has_headers()) *leaf->mutable_headers() = root.headers();
  if (!leaf->has_mirror() && root.has_mirror()) *leaf->mutable_mirror() = root.mirror();
  if (leaf->mirrors().empty()) *leaf->mutable_mirrors() = root.mirrors();
}

/// The routes of a delegate under the conditions of the route that names it.
std::vector<v1::HTTPRoute> Expand(const v1::HTTPRoute& root, const Object& delegate,
                                  const MeshSettings& mesh) {
  std::vector<v1::HTTPRoute> result;
  for (v1::HTTPRoute leaf : delegate.spec.http()) {
    if (leaf.has_delegate()) continue;  // One level only.
    FullNames(delegate.meta.ns, mesh, &leaf);
    std::vector<v1::HTTPMatchRequest> matches;
    if (leaf.match().empty()) {
      matches.assign(root.match().begin(), root.match().end());
    } else if (root.match().empty()) {
      matches.assign(leaf.match().begin(), leaf.match().end());
    } else {
      for (const auto& outer : root.match()) {
        for (v1::HTTPMatchRequest inner : leaf.match()) {
          if (JoinMatch(outer, &inner)) matches.push_back(std::move(inner));
        }
      }
      if (matches.empty()) continue;
    }
    leaf.clear_match();
    for (auto& match : matches) *leaf.add_match() = std::move(match);
    Inherit(root, &leaf);
    if (!root.name().empty())
      leaf.set_name(leaf.name().empty() ? root.name() : root.name() + "-" + leaf.name());
    result.push_back(std::move(leaf));
  }
  return result;
}

ObjectPtr FindDelegate(const v1::Delegate& delegate, const std::string& ns,
                       const model::Snapshot& snapshot) {
  const std::string& in = delegate.namespace_().empty() ? ns : delegate.namespace_();
  for (const auto& object : *snapshot.configs.virtual_services) {
    if (object->meta.ns == in && object->meta.name == delegate.name() &&
        object->spec.hosts().empty())
      return object;
  }
  return nullptr;
}

void ReadDestinations(const v1::VirtualService& spec, std::set<std::string>* hosts) {
  for (const auto& route : spec.http()) {
    for (const auto& destination : route.route()) hosts->insert(destination.destination().host());
    if (route.has_mirror()) hosts->insert(route.mirror().host());
    for (const auto& mirror : route.mirrors()) hosts->insert(mirror.destination().host());
  }
  for (const auto& route : spec.tcp()) {
    for (const auto& destination : route.route()) hosts->insert(destination.destination().host());
  }
  for (const auto& route : spec.tls()) {
    for (const auto& destination : route.route()) hosts->insert(destination.destination().host());
  }
}

std::vector<ObjectPtr> ObjectsOf(const ObjectPtr& object, const model::Snapshot& snapshot) {
  std::vector<ObjectPtr> objects = {object};
  for (const auto& route : object->spec.http()) {
    if (!route.has_delegate()) continue;
    if (auto delegate = FindDelegate(route.delegate(), object->meta.ns, snapshot))
      objects.push_back(delegate);
  }
  return objects;
}

RulesPtr ReadRules(std::vector<ObjectPtr> objects, const model::Snapshot& snapshot,
                   const MeshSettings& mesh) {
  const Object& object = *objects.front();
  const std::string& ns = object.meta.ns;
  auto rules = std::make_shared<RoutingRules>();
  auto spec = std::make_shared<v1::VirtualService>(object.spec);
  spec->clear_http();
  for (v1::HTTPRoute route : object.spec.http()) {
    FullNames(ns, mesh, &route);
    if (!route.has_delegate()) {
      *spec->add_http() = std::move(route);
    } else if (auto delegate = FindDelegate(route.delegate(), ns, snapshot)) {
      for (v1::HTTPRoute& leaf : Expand(route, *delegate, mesh))
        *spec->add_http() = std::move(leaf);
    }
  }
  for (auto& route : *spec->mutable_tcp()) FullNamesL4(ns, mesh, &route);
  for (auto& route : *spec->mutable_tls()) FullNamesL4(ns, mesh, &route);
  for (const std::string& host : object.spec.hosts())
    rules->hosts.push_back(FullHost(host, ns, mesh.domain_suffix));
  for (const std::string& gateway : object.spec.gateways())
    rules->gateways.insert(GatewayName(gateway, ns));
  if (rules->gateways.empty()) rules->gateways.insert("mesh");
  ReadDestinations(*spec, &rules->destinations);
  rules->export_to = ReadVisibility(object.spec.export_to(), ns, mesh.virtual_service_export_to,
                                    mesh.virtual_service_private);
  rules->spec = std::move(spec);
  rules->objects = std::move(objects);
  return rules;
}

}  // namespace

const config::Meta& RoutingRules::meta() const { return objects.front()->meta; }

VirtualServiceIndex::VirtualServiceIndex(const model::Snapshot& snapshot, const MeshSettings& mesh,
                                         const VirtualServiceIndex* previous) {
  if (snapshot.configs.virtual_services == nullptr) return;
  std::map<const void*, RulesPtr> known;
  if (previous != nullptr) {
    for (const RulesPtr& rules : previous->all_) known.emplace(rules->objects.front().get(), rules);
  }
  for (const auto& object : *snapshot.configs.virtual_services) {
    if (object->spec.hosts().empty()) continue;  // A delegate.
    std::vector<ObjectPtr> objects = ObjectsOf(object, snapshot);
    auto old = known.find(object.get());
    RulesPtr rules = old != known.end() && old->second->objects == objects
                         ? old->second
                         : ReadRules(std::move(objects), snapshot, mesh);
    ReadNeeds(*rules);
    all_.push_back(rules);
    for (const std::string& gateway : rules->gateways) {
      if (gateway != "mesh") gateways_[gateway].push_back(rules);
    }
    if (!rules->for_mesh()) continue;
    for (const std::string& host : rules->hosts) {
      if (!host.starts_with('*')) {
        mesh_exact_[host].push_back(rules);
        continue;
      }
      auto found = std::find_if(mesh_wildcards_.begin(), mesh_wildcards_.end(),
                                [&](const auto& entry) { return entry.first == host; });
      if (found == mesh_wildcards_.end()) found = mesh_wildcards_.insert(found, {host, {}});
      found->second.push_back(rules);
    }
  }
  std::sort(mesh_wildcards_.begin(), mesh_wildcards_.end(),
            [](const auto& a, const auto& b) { return MoreSpecificHost(a.first, b.first); });
}

void VirtualServiceIndex::ReadNeeds(const RoutingRules& rules) {
  auto read = [this](const auto& routes) {
    for (const auto& route : routes) {
      for (const auto& match : route.match()) {
        for (const auto& [key, value] : match.source_labels()) source_label_keys_.insert(key);
      }
    }
  };
  read(rules.spec->http());
  read(rules.spec->tcp());
  read(rules.spec->tls());
}

RulesPtr VirtualServiceIndex::ForMesh(const std::string& host, const std::string& ns) const {
  auto pick = [&](const std::vector<RulesPtr>& list) -> RulesPtr {
    for (const RulesPtr& rules : list) {
      if (rules->export_to.VisibleIn(ns)) return rules;
    }
    return nullptr;
  };
  if (auto exact = mesh_exact_.find(host); exact != mesh_exact_.end()) {
    if (RulesPtr rules = pick(exact->second)) return rules;
  }
  for (const auto& [pattern, list] : mesh_wildcards_) {
    if (!HostCovers(pattern, host)) continue;
    if (RulesPtr rules = pick(list)) return rules;
  }
  return nullptr;
}

std::map<std::string, RulesPtr> VirtualServiceIndex::MeshHosts(const std::string& ns) const {
  std::map<std::string, RulesPtr> hosts;
  auto add = [&](const std::string& host, const std::vector<RulesPtr>& list) {
    for (const RulesPtr& rules : list) {
      if (rules->export_to.VisibleIn(ns)) hosts.emplace(host, rules);
    }
  };
  for (const auto& [host, list] : mesh_exact_) add(host, list);
  for (const auto& [host, list] : mesh_wildcards_) add(host, list);
  return hosts;
}

const std::vector<RulesPtr>& VirtualServiceIndex::ForGateway(const std::string& gateway) const {
  static const std::vector<RulesPtr> kNone;
  auto found = gateways_.find(gateway);
  return found == gateways_.end() ? kNone : found->second;
}

}  // namespace isthmus::translate
