#include "translate/envoy_filters.h"

#include <algorithm>
#include <regex>
#include <tuple>

#include "base/log.h"
#include "base/strings.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "translate/message_merge.h"
#include "translate/proxy_class.h"

namespace isthmus::translate {
namespace {

using istio::networking::v1::EnvoyFilter;
using Patch = EnvoyFilter::Patch;

/// What the value of a patch is; null for targets that are not ours to change.
const google::protobuf::Message* PrototypeOf(EnvoyFilter::ApplyTo target) {
  namespace listener = envoy::config::listener::v3;
  namespace route = envoy::config::route::v3;
  using envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
  switch (target) {
    case EnvoyFilter::LISTENER:
      return &listener::Listener::default_instance();
    case EnvoyFilter::FILTER_CHAIN:
      return &listener::FilterChain::default_instance();
    case EnvoyFilter::NETWORK_FILTER:
      return &listener::Filter::default_instance();
    case EnvoyFilter::LISTENER_FILTER:
      return &listener::ListenerFilter::default_instance();
    case EnvoyFilter::HTTP_FILTER:
      return &HttpFilter::default_instance();
    case EnvoyFilter::ROUTE_CONFIGURATION:
      return &route::RouteConfiguration::default_instance();
    case EnvoyFilter::VIRTUAL_HOST:
      return &route::VirtualHost::default_instance();
    case EnvoyFilter::HTTP_ROUTE:
      return &route::Route::default_instance();
    case EnvoyFilter::CLUSTER:
      return &envoy::config::cluster::v3::Cluster::default_instance();
    default:
      return nullptr;
  }
}

/// What a proxy announces, by the names of its node metadata.
std::string Announced(const model::Proxy& proxy, const std::string& key) {
  if (key == "ISTIO_VERSION") return proxy.version;
  if (key == "CLUSTER_ID") return proxy.cluster.text();
  if (key == "NETWORK") return proxy.network.text();
  if (key == "NAMESPACE") return proxy.ns;
  if (key == "NODE_NAME") return proxy.node_name;
  if (key == "SERVICE_ACCOUNT") return proxy.service_account;
  if (key == "NAME") return proxy.pod;
  return "";
}

bool MatchesProxy(const EnvoyFilter::ProxyMatch& match, const model::Proxy& proxy) {
  if (!match.proxy_version().empty()) {
    try {
      if (!std::regex_search(proxy.version, std::regex(match.proxy_version()))) return false;
    } catch (const std::regex_error&) {
      return false;
    }
  }
  return std::all_of(match.metadata().begin(), match.metadata().end(), [&](const auto& entry) {
    return Announced(proxy, entry.first) == entry.second;
  });
}

}  // namespace

EnvoyFilterIndex::EnvoyFilterIndex(const model::Configs& configs, std::string root_namespace,
                                   const EnvoyFilterIndex* previous)
    : root_namespace_(std::move(root_namespace)) {
  if (previous != nullptr) previous_sets_ = previous->sets_;
  if (configs.envoy_filters == nullptr) return;
  for (const auto& object : *configs.envoy_filters) {
    // Those attached to objects of the Gateway API are not about workloads.
    if (object->spec.target_refs_size() > 0) continue;
    const Filter* known = nullptr;
    if (previous != nullptr) {
      for (const Filter& filter : previous->filters_)
        if (filter.object == object) known = &filter;
    }
    if (known == nullptr) {
      filters_.push_back(Read(object));
    } else {
      filters_.push_back(*known);
      const std::string name = object->meta.ns + "/" + object->meta.name;
      if (auto problem = previous->problems_.find(name); problem != previous->problems_.end())
        problems_.insert(*problem);
    }
  }
  auto order = [this](const Filter& filter) {
    const config::Meta& meta = filter.object->meta;
    return std::tuple(filter.object->spec.priority(), meta.ns != root_namespace_, meta.created,
                      meta.name + "." + meta.ns);
  };
  std::stable_sort(filters_.begin(), filters_.end(),
                   [&](const Filter& a, const Filter& b) { return order(a) < order(b); });
}

EnvoyFilterIndex::Filter EnvoyFilterIndex::Read(
    const std::shared_ptr<const EnvoyPatch::Object>& object) {
  Filter filter{object, {}};
  const std::string name = object->meta.ns + "/" + object->meta.name;
  auto leave_out = [&](int index, const std::string& why) {
    const std::string problem = "configPatches[" + std::to_string(index) + "]: " + why;
    LOG_WARN("translate", "EnvoyFilter {}: {}; the patch is left out", name, problem);
    problems_[name] += (problems_[name].empty() ? "" : "; ") + problem;
  };
  for (int i = 0; i < object->spec.config_patches_size(); ++i) {
    const EnvoyPatch::Spec& spec = object->spec.config_patches(i);
    const google::protobuf::Message* prototype = PrototypeOf(spec.apply_to());
    if (prototype == nullptr) {
      leave_out(i, "applyTo " + EnvoyFilter::ApplyTo_Name(spec.apply_to()) +
                       " is not patched by this control plane");
      continue;
    }
    auto patch = std::make_shared<EnvoyPatch>();
    patch->object = object;
    patch->spec = &spec;
    if (spec.patch().operation() != Patch::REMOVE) {
      auto value = ReadMessage(spec.patch().value(), *prototype);
      if (!value.ok()) {
        leave_out(i, "value: " + value.status().message());
        continue;
      }
      patch->value = std::move(*value);
    }
    filter.patches.push_back(std::move(patch));
  }
  return filter;
}

std::string EnvoyFilterIndex::NameFor(const model::Proxy& proxy,
                                      const model::Labels& labels) const {
  std::string name;
  for (size_t f = 0; f < filters_.size(); ++f) {
    const Filter& filter = filters_[f];
    const config::Meta& meta = filter.object->meta;
    if (meta.ns != root_namespace_ && meta.ns != proxy.ns) continue;
    if (!SelectsMap(filter.object->spec.workload_selector().labels(), labels)) continue;
    std::string patches;
    for (size_t i = 0; i < filter.patches.size(); ++i) {
      if (!MatchesProxy(filter.patches[i]->spec->match().proxy(), proxy)) continue;
      patches += (patches.empty() ? ":" : ",") + std::to_string(i);
    }
    if (!patches.empty()) name += meta.ns + "/" + meta.name + patches + ";";
  }
  return name;
}

EnvoyPatchesPtr EnvoyFilterIndex::Find(const std::string& name) const {
  if (name.empty()) return nullptr;
  auto [found, fresh] = sets_.try_emplace(name);
  if (!fresh) return found->second;
  auto set = std::make_shared<EnvoyPatches>();
  for (std::string_view part : base::Split(name, ';')) {
    const auto [object, numbers] = base::Cut(part, ":");
    for (const Filter& filter : filters_) {
      if (filter.object->meta.ns + "/" + filter.object->meta.name != object) continue;
      for (std::string_view number : base::Split(numbers, ',')) {
        const auto index = base::ParseInt(number);
        if (index.ok() && static_cast<size_t>(*index) < filter.patches.size())
          set->push_back(filter.patches[*index]);
      }
    }
  }
  auto before = previous_sets_.find(name);
  found->second =
      before != previous_sets_.end() && *before->second == *set ? before->second : std::move(set);
  return found->second;
}

}  // namespace isthmus::translate
