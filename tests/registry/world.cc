#include "tests/registry/world.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "config/kinds.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "kubeapi/meta.h"

namespace isthmus::registry {
namespace {

const std::map<std::string, Watched> kWatched = {{"Namespace", Watched::kNamespace},
                                                 {"Service", Watched::kService},
                                                 {"Pod", Watched::kPod},
                                                 {"Node", Watched::kNode},
                                                 {"EndpointSlice", Watched::kEndpointSlice},
                                                 {"WorkloadEntry", Watched::kWorkloadEntry},
                                                 {"Secret", Watched::kSecret}};

}  // namespace

World::World(MeshState::Options options) : mesh_(std::move(options)) {
  base::SetLogLevel(base::LogLevel::kError);
}

void World::Apply(const std::string& cluster, std::string_view yaml) {
  auto objects = kubeapi::ParseYamlStream(yaml);
  ASSERT_TRUE(objects.ok()) << objects.status().message();
  for (const Json& object : *objects) ApplyObject(cluster, object);
}

void World::ApplyFile(const std::string& cluster, const std::string& name) {
  auto text = base::ReadFile(std::string(ISTHMUS_SOURCE_DIR) + "/tests/registry/testdata/" + name);
  ASSERT_TRUE(text.ok()) << text.status().message();
  Apply(cluster, *text);
}

void World::ApplyObject(const std::string& cluster, const Json& object) {
  Put(cluster, kubeapi::KindOf(object), kubeapi::KeyOf(object), &object);
}

void World::Delete(const std::string& cluster, const std::string& kind, const std::string& key) {
  Put(cluster, kind, key, nullptr);
}

void World::Put(const std::string& cluster, const std::string& kind, const std::string& key,
                const Json* object) {
  const model::ClusterId id(cluster);
  if (mesh_.Find(id) == nullptr) mesh_.PutCluster(mesh_.NewCluster(id));
  auto watched = kWatched.find(kind);
  if (watched != kWatched.end())
    mesh_.Find(id)->Apply(watched->second, key, object);
  else if (const config::Kind* row = config::FindKindByName(kind))
    mesh_.ApplyConfig(*row, key, object);
  else
    ADD_FAILURE() << "unknown kind " << kind;
}

const model::Service* World::Service(const std::string& host) {
  auto found = snapshot().services->find(host);
  return found == snapshot().services->end() ? nullptr : found->second.front().get();
}

std::string World::Endpoints(const std::string& host, const std::string& ns) {
  auto found = snapshot().endpoints->find(host + "/" + ns);
  if (found == snapshot().endpoints->end()) return "none";
  std::string text;
  for (const auto& shard : found->second->shards) {
    text += shard->provider + "/" + shard->cluster.text() + ":";
    for (const model::Endpoint& e : shard->endpoints)
      text += fmt::format(" {}:{}@{}", e.address, e.port, e.network.text());
    text += "\n";
  }
  return text;
}

bool SameSnapshot(const model::Snapshot& a, const model::Snapshot& b, std::string* why) {
  auto same_services = [](const auto& x, const auto& y) {
    return x.first == y.first &&
           std::equal(x.second.begin(), x.second.end(), y.second.begin(), y.second.end(),
                      [](const auto& s, const auto& t) { return *s == *t; });
  };
  if (!std::equal(a.services->begin(), a.services->end(), b.services->begin(), b.services->end(),
                  same_services))
    return *why = "services", false;
  auto same_endpoints = [why](const auto& x, const auto& y) {
    *why = "endpoints of " + x.first;
    return x.first == y.first && x.second->service_accounts == y.second->service_accounts &&
           std::equal(x.second->shards.begin(), x.second->shards.end(), y.second->shards.begin(),
                      y.second->shards.end(), [](const auto& s, const auto& t) {
                        return s->provider == t->provider && s->cluster == t->cluster &&
                               s->endpoints == t->endpoints;
                      });
  };
  if (!std::equal(a.endpoints->begin(), a.endpoints->end(), b.endpoints->begin(),
                  b.endpoints->end(), same_endpoints))
    return false;
  if (!(*a.gateways == *b.gateways) || !(*a.unresolved_gateways == *b.unresolved_gateways))
    return *why = "gateways", false;
  if (!(a.workloads == b.workloads)) return *why = "workloads", false;
  if (*a.credentials != *b.credentials) return *why = "credentials", false;
  auto same_entry = [](const auto& x, const auto& y) {
    return x->meta == y->meta && x->spec.SerializeAsString() == y->spec.SerializeAsString();
  };
  if (!std::equal(a.configs.service_entries->begin(), a.configs.service_entries->end(),
                  b.configs.service_entries->begin(), b.configs.service_entries->end(), same_entry))
    return *why = "service entries", false;
  return true;
}

}  // namespace isthmus::registry
