#include "controlplane/standby.h"

#include <algorithm>
#include <set>

#include "base/encoding.h"
#include "base/log.h"
#include "base/net.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "registry/records.h"

namespace isthmus::controlplane {
namespace {

using base::Code;
using kubeapi::kConfigMaps;
using kubeapi::kEndpointSlices;
using kubeapi::kServices;
using kubeclient::Json;
using kubeclient::Resource;

// Changes come in groups: a rollout, a first list.
constexpr auto kPause = std::chrono::milliseconds(100);
// For what happens without a word to us: somebody else changed the slice.
constexpr auto kLookAgain = std::chrono::minutes(5);

std::string SliceName(const std::string& service, const std::string& from) {
  const std::string name = kubeapi::IsDnsSubdomain(from) ? from : "hex-" + base::HexEncode(from);
  return service + "-standby-" + name;
}

bool IsV6(const std::string& address) { return address.find(':') != std::string::npos; }

}  // namespace

model::NetworkId NetworkOfPods(const registry::ClusterState& state) {
  if (const std::string network = state.NamespaceNetwork(); !network.empty())
    return model::NetworkId(network);
  std::map<model::NetworkId, size_t> counts;
  for (const std::string& key : state.WorkloadKeys())
    if (const auto workload = state.FindWorkload(key);
        workload != nullptr && !workload->network.text().empty())
      ++counts[workload->network];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? model::NetworkId() : most->first;
}

StandbyOffer OfferFor(const registry::ClusterState& own, const registry::ClusterState& other,
                      const std::vector<model::NetworkGateway>& gateways,
                      const std::string& own_hostname, uint16_t discovery_port,
                      uint16_t webhook_port) {
  StandbyOffer offer;
  std::set<std::string> addresses;
  const model::NetworkId network = NetworkOfPods(own);
  if (network == NetworkOfPods(other)) {
    offer.discovery_port = discovery_port;
    offer.webhook_port = webhook_port;
    if (const auto shard = own.BuildShard(own_hostname))
      for (const model::Endpoint& endpoint : shard->endpoints)
        if (endpoint.health == model::Health::kHealthy) addresses.insert(endpoint.address);
  } else {
    for (const model::NetworkGateway& gateway : gateways) {
      // The gateway of another cluster leads to the control plane of that one.
      if (gateway.network != network || gateway.cluster != own.id() || gateway.port == 0) continue;
      if (!base::IsIpAddress(gateway.address)) continue;
      if (offer.discovery_port != 0 && offer.discovery_port != gateway.port) continue;
      offer.discovery_port = offer.webhook_port = gateway.port;
      addresses.insert(gateway.address);
    }
  }
  // One slice holds addresses of one family.
  for (const std::string& address : addresses)
    if (IsV6(address) == IsV6(*addresses.begin())) offer.addresses.push_back(address);
  return offer;
}

Json StandbySlice(const StandbyOffer& offer, const std::string& from, const Json& service) {
  const std::string name = kubeapi::NameOf(service);
  Json endpoints = Json::array();
  for (const std::string& address : offer.addresses)
    endpoints.push_back(
        {{"addresses", {address}},
         {"conditions", {{"ready", false}, {"serving", true}, {"terminating", true}}}});
  Json ports = Json::array();
  if (const Json* list = kubeapi::Find(service, {"spec", "ports"}); list && list->is_array())
    for (const Json& port : *list) {
      const int64_t number = kubeapi::IntAt(port, {"port"});
      if (number != 15012 && number != 443) continue;
      ports.push_back({{"name", kubeapi::StringAt(port, {"name"})},
                       {"protocol", "TCP"},
                       {"port", number == 443 ? offer.webhook_port : offer.discovery_port}});
    }
  const bool v6 = !offer.addresses.empty() && IsV6(offer.addresses.front());
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata",
           {{"name", SliceName(name, from)},
            {"namespace", kubeapi::NamespaceOf(service)},
            {"labels",
             {{"kubernetes.io/service-name", name},
              {registry::kManagedByLabel, registry::kStandbyManager}}},
            // It goes with the Service, whoever removes that.
            {"ownerReferences", Json::array({{{"apiVersion", "v1"},
                                              {"kind", "Service"},
                                              {"name", name},
                                              {"uid", kubeapi::UidOf(service)}}})}}},
          {"addressType", v6 ? "IPv6" : "IPv4"},
          {"endpoints", std::move(endpoints)},
          {"ports", std::move(ports)}};
}

struct Standby::Impl : std::enable_shared_from_this<Impl> {
  // What one other cluster has of us.
  struct Target {
    std::optional<StandbyOffer> written;
    bool busy = false;
    std::string told;  // The last complaint; not repeated.
    base::Backoff backoff{{.initial = std::chrono::seconds(1), .max = std::chrono::seconds(30)}};
    base::Timer retry;
  };

  Impl(base::Loop& loop_in, registry::MeshRegistry& registry_in, StandbyOptions options_in)
      : loop(loop_in), registry(registry_in), options(std::move(options_in)) {}

  void Soon() {
    if (std::exchange(pending, true)) return;
    pause = base::Timer::After(loop, kPause, [this] {
      pending = false;
      Update();
    });
  }

  void Update() {
    if (!registry.ready()) return;
    std::set<model::ClusterId> present;
    for (const registry::ClusterStatus& cluster : registry.Clusters()) {
      if (cluster.id.text() == options.cluster) continue;
      present.insert(cluster.id);
      Consider(cluster.id);
    }
    std::erase_if(targets, [&](const auto& entry) { return !present.contains(entry.first); });
  }

  void Consider(const model::ClusterId& id) {
    Target& target = targets[id];
    const registry::ControlPlaneOf home = registry.HomeOf(id);
    if (!home.present) target.written.reset();  // The slice has gone with the Service.
    if (target.busy || !home.present || registry.ClientFor(id) == nullptr) return;
    StandbyOffer offer;
    const model::ClusterId here(options.cluster);
    const bool offers = options.enabled && !(leaving && !registry.HomeOf(here).ready);
    if (offers) {
      const registry::ClusterState* own = registry.StateOf(here);
      const registry::ClusterState* other = registry.StateOf(id);
      if (own == nullptr || other == nullptr) return;
      offer =
          OfferFor(*own, *other, registry.snapshot()->gateways->all(),
                   registry.HomeOf(here).hostname, options.discovery_port, options.webhook_port);
      // While we have no address the last one is as good as none.
      if (offer.addresses.empty()) return;
    }
    if (target.written == offer) return;
    target.busy = true;
    if (offers)
      Write(id, home.service, offer);
    else
      Withdraw(id, home.service);
  }

  std::function<void(base::Result<Json>)> Then(
      const model::ClusterId& id, std::function<void(kubeclient::Client&, const Json&)> next) {
    return [weak = weak_from_this(), id, next = std::move(next)](base::Result<Json> answer) {
      auto self = weak.lock();
      if (self == nullptr) return;
      kubeclient::Client* client = self->registry.ClientFor(id);
      if (client == nullptr) return self->Done(id, base::Error(Code::kUnavailable, "it is gone"));
      if (!answer.ok()) return self->Done(id, answer.status());
      next(*client, *answer);
    };
  }

  void Write(const model::ClusterId& id, const std::string& service, const StandbyOffer& offer) {
    registry.ClientFor(id)->Get(
        kConfigMaps, options.ns, options.root_config_map,
        Then(id, [this, id, service, offer](kubeclient::Client& client, const Json& roots) {
          if (base::Trim(kubeapi::StringAt(roots, {"data", "root-cert.pem"})) !=
              base::Trim(options.roots()))
            return Done(id, base::Error(Code::kFailedPrecondition,
                                        "it has other roots than we, so its proxies would not "
                                        "believe this control plane"));
          client.Get(kServices, options.ns, service,
                     Then(id, [this, id, offer](kubeclient::Client& client, const Json& found) {
                       const Json slice = StandbySlice(offer, options.cluster, found);
                       client.Patch(kEndpointSlices, options.ns, kubeapi::NameOf(slice),
                                    kubeclient::PatchType::kApply, slice,
                                    Then(id,
                                         [this, id, offer](kubeclient::Client&, const Json&) {
                                           LOG_INFO(
                                               "standby",
                                               "cluster {}: this control plane stands by at {}",
                                               id.text(), base::Join(offer.addresses, ", "));
                                           Done(id, base::Status(), offer);
                                         }),
                                    {}, "isthmus-standby");
                     }));
        }));
  }

  void Withdraw(const model::ClusterId& id, const std::string& service) {
    registry.ClientFor(id)->Delete(
        kEndpointSlices, options.ns, SliceName(service, options.cluster),
        [weak = weak_from_this(), id](base::Result<Json> answer) {
          auto self = weak.lock();
          if (self == nullptr) return;
          const bool gone = answer.ok() || answer.status().code() == Code::kNotFound;
          self->Done(id, gone ? base::Status() : answer.status(), StandbyOffer());
        });
  }

  void Done(const model::ClusterId& id, const base::Status& status, StandbyOffer offer = {}) {
    auto at = targets.find(id);
    if (at == targets.end()) return;
    Target& target = at->second;
    target.busy = false;
    if (status.ok()) {
      target.written = std::move(offer);
      target.told.clear();
      target.backoff.Reset();
      return Soon();  // It may have changed meanwhile.
    }
    // While a cluster is installed its parts come one after the other.
    if (target.told != status.message() && status.code() != Code::kNotFound)
      LOG_WARN("standby", "cluster {}: it cannot fail over to this control plane: {}", id.text(),
               status.message());
    target.told = status.message();
    target.busy = true;  // Until the retry.
    target.retry = base::Timer::After(loop, target.backoff.Next(), [this, id] {
      targets[id].busy = false;
      Soon();
    });
  }

  base::Loop& loop;
  registry::MeshRegistry& registry;
  const StandbyOptions options;
  std::map<model::ClusterId, Target> targets;
  bool pending = false;
  bool leaving = false;
  base::Timer pause;
  base::Timer again;
};

Standby::Standby(base::Loop& loop, registry::MeshRegistry& registry, StandbyOptions options)
    : impl_(std::make_shared<Impl>(loop, registry, std::move(options))) {
  impl_->again = base::Timer::Every(loop, kLookAgain, [impl = impl_.get()] {
    for (auto& [id, target] : impl->targets) target.written.reset();
    impl->Soon();
  });
  impl_->Soon();
}
Standby::~Standby() = default;

void Standby::Changed() { impl_->Soon(); }

void Standby::Leave() {
  impl_->leaving = true;
  impl_->Soon();
}

}  // namespace isthmus::controlplane
