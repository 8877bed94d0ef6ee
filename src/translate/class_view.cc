#include "translate/class_view.h"

#include <functional>

#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "translate/name_table.h"
#include "translate/names.h"
#include "translate/pack.h"
#include "translate/secrets.h"
#include "translate/tracing.h"

namespace isthmus::translate {
namespace {

size_t ShardOf(const std::string& hostname) {
  return std::hash<std::string>()(hostname) % ClassView::kEndpointShards;
}

std::string EndpointKey(const model::Service& service) {
  return service.hostname + "/" + service.ns;
}

/// Adds the traits that load assignments depend on.
void AddPlace(const World& world, const ProxyClass& proxy, const model::Service& service,
              MemoKey* key) {
  key->Add(proxy.network.text()).Add(proxy.ipv4).Add(proxy.ipv6).Add(proxy.locality.text());
  for (const model::NetworkId& network : proxy.network_view) key->Add(network.text());
  key->Add(";");
  if (service.cluster_local || !proxy.locality.empty()) key->Add(proxy.cluster.text());
  if (service.node_local || !proxy.locality.empty()) key->Add(proxy.node);
  key->Add(";");
  if (!proxy.locality.empty()) {
    for (const auto& [name, value] : proxy.labels) key->Add(name).Add(value);
  }
}

}  // namespace

ClassView::ClassView(ProxyClass proxy, Workshop* workshop)
    : proxy_(std::move(proxy)), workshop_(workshop) {}

void ClassView::Update(std::shared_ptr<const World> world, const model::ChangeSet& changes) {
  if (given_ == world) return;
  given_ = world;
  const std::shared_ptr<const World> before = std::move(world_);
  world_ = Localise(std::move(world));
  Dirty dirty = before == nullptr ? Everything() : WhatIsDirty(*before, changes);
  if (!changes.endpoints.empty() || !changes.services.empty()) {
    if (dirty == Dirty() && UpdateEndpoints(changes.endpoints)) return;
    dirty.clusters = dirty.endpoints = dirty.listeners = dirty.names = true;
  }
  if (dirty.scope) BuildScope();
  if (dirty.clusters) BuildClusters();
  if (dirty.endpoints) BuildEndpoints();
  if (dirty.listeners) BuildListeners();
  if (dirty.routes) {
    route_tables_.reusable = !dirty.scope;
    BuildRoutes();
  }
  if (dirty.secrets) BuildSecretSet();
  if (dirty.names) BuildNames();
}

std::shared_ptr<const World> ClassView::Localise(std::shared_ptr<const World> world) {
  sidecar_ = world->sidecars->Find(proxy_.sidecar);
  patches_ = world->patches->Find(proxy_.patches);
  TelemetryIndex::Place place;
  if (const auto tracer = world->telemetry->TracerFor(proxy_.telemetry, false)) {
    place.tracer_cluster = TracerCluster(*world->snapshot, sidecar_.get(), proxy_.ns, *tracer);
    place.service_name = proxy_.traced_as;
  }
  std::shared_ptr<const MeshSettings> mesh =
      world->telemetry->SettingsFor(proxy_.telemetry, false, place);
  if (sidecar_ != nullptr && sidecar_->allow_any.has_value() &&
      *sidecar_->allow_any != mesh->allow_any) {
    if (mesh_before_ != mesh) {
      auto own = std::make_shared<MeshSettings>(*mesh);
      own->allow_any = *sidecar_->allow_any;
      own_mesh_ = std::move(own);
      mesh_before_ = mesh;
    }
    mesh = own_mesh_;
  }
  if (mesh == world->mesh) return world;
  auto own = std::make_shared<World>(*world);
  own->mesh = std::move(mesh);
  return own;
}

PatchSide ClassView::Side() const {
  return proxy_.router() ? PatchSide::kGateway : PatchSide::kOutbound;
}

ClassInputs ClassView::Inputs(Kept* kept) {
  return {*world_, proxy_, scope_, *this, sidecar_.get(), *workshop_, *kept};
}

void ClassView::BuildListeners() {
  Kept kept;
  const ClassInputs inputs = Inputs(&kept);
  Resources listeners = proxy_.router() ? BuildGatewayListeners(inputs, gateway_ports_)
                                        : BuildSidecarListeners(inputs);
  ReplaceSet(PatchListeners(patches_, Side(), std::move(listeners), workshop_, &kept),
             &sets_.listeners);
  kept_listeners_ = std::move(kept);
}

void ClassView::BuildRoutes() {
  Kept kept;
  const ClassInputs inputs = Inputs(&kept);
  Resources routes = proxy_.router() ? BuildGatewayRoutes(inputs, gateway_ports_)
                                     : BuildSidecarRoutes(inputs, &route_tables_);
  ReplaceSet(PatchRoutes(patches_, Side(), std::move(routes), workshop_, &kept), &sets_.routes);
  kept_routes_ = std::move(kept);
}

void ClassView::BuildNames() {
  // Agents without DNS proxy never ask.
  if (!proxy_.dns_capture && !proxy_.router()) return;
  Kept kept;
  ReplaceSet({BuildNameTable(Inputs(&kept))}, &sets_.names);
}

void ClassView::BuildSecretSet() {
  Kept kept;
  std::vector<std::shared_ptr<const MergedRule>> rules;
  for (const Part& part : parts_) rules.push_back(part.rule);
  ReplaceSet(BuildSecrets(Inputs(&kept), gateway_ports_, rules), &sets_.secrets);
}

ServicePtr ClassView::FindService(const std::string& host) const { return scope_.Find(host); }

std::shared_ptr<const MergedRule> ClassView::FindRule(const std::string& host) const {
  auto [found, fresh] = rules_.try_emplace(host);
  if (fresh) {
    const ServicePtr service = scope_.Find(host);
    found->second =
        world_->rules->Find(proxy_.ns, proxy_.labels, host, service == nullptr ? "" : service->ns);
  }
  return found->second;
}

ClassView::Dirty ClassView::WhatIsDirty(const World& before,
                                        const model::ChangeSet& changes) const {
  const World& now = *world_;
  if (before.sidecars != now.sidecars || (sidecar_ != nullptr && before.routes != now.routes))
    return Everything();
  if (changes.everything || before.mesh != now.mesh || before.services != now.services)
    return Everything();
  if (before.patches->Find(proxy_.patches) != patches_) return Everything();
  if (proxy_.router() &&
      before.snapshot->configs.gateways.get() != now.snapshot->configs.gateways.get()) {
    return Everything();
  }
  Dirty dirty;
  if (before.rules != now.rules) {
    dirty.scope = dirty.clusters = dirty.endpoints = dirty.listeners = dirty.routes =
        dirty.secrets = true;
  }
  if (before.routes != now.routes) dirty.listeners = dirty.routes = true;
  if (before.authentication != now.authentication) dirty.clusters = dirty.endpoints = true;
  if (proxy_.router() && before.authorization != now.authorization) dirty.listeners = true;
  if (proxy_.router() && before.tokens != now.tokens) dirty.listeners = dirty.clusters = true;
  if (before.gateways != now.gateways) dirty.endpoints = true;
  if (before.unresolved_gateways != now.unresolved_gateways) dirty.clusters = true;
  if (before.snapshot->credentials != now.snapshot->credentials) dirty.secrets = true;
  return dirty;
}

void ClassView::BuildScope() {
  if (proxy_.router()) gateway_ports_ = PlanGateway(*world_, proxy_);
  // Where rules lead is seen too, when the hosts that they speak for are.
  std::set<std::string> led_to;
  if (sidecar_ != nullptr) {
    for (const auto& [host, rules] : world_->routes->MeshHosts(proxy_.ns)) {
      if (!sidecar_->Admits(proxy_.ns, rules->meta().ns, host)) continue;
      led_to.insert(rules->destinations.begin(), rules->destinations.end());
    }
  }
  scope_ = ServiceScope(*world_->services, proxy_.ns, [&](const model::Service& service) {
    return sidecar_ == nullptr || led_to.contains(service.hostname) ||
           sidecar_->Admits(proxy_.ns, service.ns, service.hostname);
  });
  std::unordered_map<std::string, size_t> before = std::move(part_of_);
  std::vector<Part> old = std::move(parts_);
  parts_.clear();
  part_of_.clear();
  rules_.clear();
  for (const ServicePtr& service : scope_.services()) {
    Part part;
    if (auto known = before.find(EndpointKey(*service)); known != before.end())
      part = std::move(old[known->second]);
    part.service = service;
    part.rule = world_->rules->Find(proxy_.ns, proxy_.labels, service->hostname, service->ns);
    part_of_.emplace(EndpointKey(*service), parts_.size());
    parts_.push_back(std::move(part));
  }
}

EndpointInputs ClassView::InputsFor(const Part& part, const model::ServiceEndpoints* endpoints,
                                    const model::GatewayIndex& gateways) const {
  return {*world_->mesh, proxy_,   *part.service,          part.rule.get(),
          endpoints,     gateways, *world_->authentication};
}

std::shared_ptr<const ServiceClusters> ClassView::ClustersOf(const Part& part, bool sni) {
  const model::Service& service = *part.service;
  MemoKey key(sni ? "sni clusters" : "clusters");
  key.Add(world_->mesh).Add(part.service).Add(part.rule).Add(proxy_.router());
  key.Add(world_->authentication->ForNamespace(service.ns));
  if (part.held != nullptr) {
    for (const std::string& account : part.held->service_accounts) key.Add(account);
  }
  key.Add(";");
  if (ClustersReadEndpoints(proxy_, service)) {
    key.Add(part.held).Add(world_->unresolved_gateways).Add(world_->authentication);
    AddPlace(*world_, proxy_, service, &key);
  }
  return workshop_->memo.Get<ServiceClusters>(key, [&] {
    auto built =
        BuildOutboundClusters(InputsFor(part, part.held.get(), *world_->unresolved_gateways), sni);
    auto result = std::make_shared<ServiceClusters>(*built);
    workshop_->interned.Intern(&result->clusters);
    return std::shared_ptr<const ServiceClusters>(std::move(result));
  });
}

void ClassView::BuildClusters() {
  Resources resources;
  Resources sni_resources;
  const bool by_sni = RoutesBySni(gateway_ports_);
  for (Part& part : parts_) {
    part.held = world_->EndpointsOf(*part.service);
    part.clusters = ClustersOf(part, false);
    resources.insert(resources.end(), part.clusters->clusters.begin(),
                     part.clusters->clusters.end());
    part.sni_clusters = by_sni ? ClustersOf(part, true) : nullptr;
    if (!by_sni) continue;
    const Resources& sni = part.sni_clusters->clusters;
    sni_resources.insert(sni_resources.end(), sni.begin(), sni.end());
  }
  Resources constant = BuildConstantClusters(*world_->mesh, proxy_.router());
  workshop_->interned.Intern(&constant);
  resources.insert(resources.end(), constant.begin(), constant.end());
  resources.insert(resources.end(), sni_resources.begin(), sni_resources.end());
  if (proxy_.router()) {
    Resources keys =
        BuildTokenChecks(*world_->mesh, *world_->snapshot,
                         world_->tokens->For(proxy_.ns, proxy_.labels), proxy_.ipv4, true)
            .clusters;
    workshop_->interned.Intern(&keys);
    resources.insert(resources.end(), keys.begin(), keys.end());
  }
  Kept kept;
  ReplaceSet(PatchClusters(patches_, Side(), std::move(resources), workshop_, &kept),
             &sets_.clusters);
  kept_clusters_ = std::move(kept);
}

std::shared_ptr<const Resources> ClassView::EndpointsOf(const Part& part) {
  MemoKey key("endpoints");
  key.Add(world_->mesh).Add(part.service).Add(part.rule).Add(part.held);
  key.Add(world_->gateways)
      .Add(world_->authentication)
      .Add(part.sni_clusters != nullptr)
      .Add(proxy_.router());
  AddPlace(*world_, proxy_, *part.service, &key);
  return workshop_->memo.Get<Resources>(key, [&] {
    const EndpointInputs inputs = InputsFor(part, part.held.get(), *world_->gateways);
    auto resources = std::make_shared<Resources>();
    for (const ServiceClusters* clusters : {part.clusters.get(), part.sni_clusters.get()}) {
      if (clusters == nullptr) continue;
      for (const EndpointRequest& request : clusters->requests) {
        google::protobuf::Arena arena;
        auto* assignment = google::protobuf::Arena::CreateMessage<
            envoy::config::endpoint::v3::ClusterLoadAssignment>(&arena);
        assignment->set_cluster_name(request.name);
        if (const model::Port* port = part.service->FindPort(request.port)) {
          FillLoadAssignment(inputs, *port, request.subset, request.sni, assignment);
        }
        resources->push_back(
            workshop_->interned.Intern(MakeResource(request.name, kEndpointType, *assignment)));
      }
    }
    return std::shared_ptr<const Resources>(std::move(resources));
  });
}

void ClassView::BuildEndpoints() {
  std::array<Resources, kEndpointShards> shards;
  for (Part& part : parts_) {
    part.endpoints = EndpointsOf(part);
    Resources& shard = shards[ShardOf(part.service->hostname)];
    shard.insert(shard.end(), part.endpoints->begin(), part.endpoints->end());
  }
  for (size_t i = 0; i < kEndpointShards; ++i)
    ReplaceSet(std::move(shards[i]), &sets_.endpoints[i]);
}

bool ClassView::UpdateEndpoints(const std::set<std::string>& keys) {
  for (const std::string& key : keys) {
    auto found = part_of_.find(key);
    if (found == part_of_.end()) continue;
    const Part& part = parts_[found->second];
    if (part.service->headless || ClustersReadEndpoints(proxy_, *part.service)) return false;
    auto now = world_->EndpointsOf(*part.service);
    static const std::set<std::string> kNone;
    const auto& before = part.held == nullptr ? kNone : part.held->service_accounts;
    if ((now == nullptr ? kNone : now->service_accounts) != before) return false;
  }
  std::array<Resources, kEndpointShards> changed;
  for (const std::string& key : keys) {
    auto found = part_of_.find(key);
    if (found == part_of_.end()) continue;
    Part& part = parts_[found->second];
    part.held = world_->EndpointsOf(*part.service);
    auto before = std::move(part.endpoints);
    part.endpoints = EndpointsOf(part);
    for (size_t i = 0; i < part.endpoints->size(); ++i) {
      if ((*before)[i] != (*part.endpoints)[i]) {
        changed[ShardOf(part.service->hostname)].push_back((*part.endpoints)[i]);
      }
    }
  }
  for (size_t i = 0; i < kEndpointShards; ++i) {
    if (changed[i].empty()) continue;
    Resources now = sets_.endpoints[i]->all();
    for (const auto& resource : changed[i])
      now[sets_.endpoints[i]->Find(resource->name) - sets_.endpoints[i]->all().data()] = resource;
    sets_.endpoints[i] = workshop_->sets.Intern(std::move(now));
  }
  return true;
}

void ClassView::ReplaceSet(Resources resources, Set* set) {
  Set fresh = workshop_->sets.Intern(std::move(resources));
  // Interned resources are equal exactly when their addresses are.
  if (*set == nullptr || (*set)->all() != fresh->all()) *set = std::move(fresh);
}

}  // namespace isthmus::translate
