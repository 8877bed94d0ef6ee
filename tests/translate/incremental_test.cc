#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/translate/test_world.h"
#include "translate/names.h"
#include "translate/translator.h"

#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/networking/v1/destination_rule.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/gateway.pb.h"
#include "istio/networking/v1/service_entry.pb.h"
#include "istio/networking/v1/sidecar.pb.h"
#include "istio/networking/v1/virtual_service.pb.h"
#include "istio/security/v1/authorization_policy.pb.h"
#include "istio/security/v1/peer_authentication.pb.h"
#include "istio/security/v1/request_authentication.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::translate {
namespace {

namespace fs = std::filesystem;
using SnapshotPtr = std::shared_ptr<const model::Snapshot>;

TestWorld ReadWorld(const std::string& scenario) {
  std::ifstream in(fs::path(ISTHMUS_SOURCE_DIR) / "tests/translate/golden" / scenario /
                   "world.yaml");
  std::stringstream text;
  text << in.rdbuf();
  return ParseWorld(text.str());
}

/// All that a proxy is sent, by type and name. Order within a type counts, but for assignments.
std::map<std::string, std::vector<std::pair<std::string, std::string>>> Bytes(
    const model::View& view) {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> all;
  for (const auto& [type, sets] : view.types) {
    auto& list = all[type];
    for (const auto& set : sets) {
      for (const auto& resource : set->all())
        list.emplace_back(resource->name, std::string(resource->any.view()));
    }
    if (type == kEndpointType) std::sort(list.begin(), list.end());
  }
  return all;
}

/// Changes a world at random, always the same way for a seed. What it takes away it can put back.
class Mutator {
 public:
  Mutator(const TestWorld& world, unsigned seed)
      : full_(world.snapshot), now_(world.snapshot), random_(seed) {}

  SnapshotPtr Step() {
    auto next = std::make_shared<model::Snapshot>(*now_);
    ++next->version;
    const int times = 1 + Pick(3);
    for (int i = 0; i < times; ++i) Change(next.get());
    now_ = next;
    return now_;
  }
  int Pick(size_t count) { return static_cast<int>(random_() % count); }

 private:
  void Change(model::Snapshot* next) {
    switch (Pick(15)) {
      case 0:
        return Toggle(full_->configs.virtual_services, &next->configs.virtual_services);
      case 1:
        return Toggle(full_->configs.destination_rules, &next->configs.destination_rules);
      case 2:
        return Toggle(full_->configs.gateways, &next->configs.gateways);
      case 3:
        return Toggle(full_->configs.peer_authentications, &next->configs.peer_authentications);
      case 4:
        return Toggle(full_->configs.authorization_policies, &next->configs.authorization_policies);
      case 5:
        return Toggle(full_->configs.sidecars, &next->configs.sidecars);
      case 12:
        return Toggle(full_->configs.request_authentications,
                      &next->configs.request_authentications);
      case 13:
        return Toggle(full_->configs.telemetries, &next->configs.telemetries);
      case 14:
        return Toggle(full_->configs.envoy_filters, &next->configs.envoy_filters);
      case 6:
        return ToggleService(next);
      case 7:
        return ChangeService(next);
      case 8:
        return Switch(next);
      default:
        return ChangeEndpoints(next);
    }
  }

  template <typename List>
  void Toggle(const List& full, List* now) {
    if (full->empty()) return;
    const auto& object = (*full)[Pick(full->size())];
    auto copy = std::make_shared<std::remove_const_t<typename List::element_type>>();
    bool had = false;
    for (const auto& other : **now) had = had || other == object;
    for (const auto& other : *full) {
      const bool has = std::find((*now)->begin(), (*now)->end(), other) != (*now)->end();
      if (other == object ? !had : has) copy->push_back(other);
    }
    *now = std::move(copy);
  }

  void ToggleService(model::Snapshot* next) {
    auto services = std::make_shared<model::Snapshot::ServiceMap>(*next->services);
    auto entry = full_->services->begin();
    std::advance(entry, Pick(full_->services->size()));
    if (services->erase(entry->first) == 0) services->insert(*entry);
    next->services = std::move(services);
  }

  void ChangeService(model::Snapshot* next) {
    if (next->services->empty()) return;
    auto services = std::make_shared<model::Snapshot::ServiceMap>(*next->services);
    auto entry = services->begin();
    std::advance(entry, Pick(services->size()));
    auto changed = std::make_shared<model::Service>(*entry->second.front());
    switch (Pick(4)) {
      case 0:
        for (auto& [cluster, vips] : changed->cluster_vips)
          vips = {"10.77.0." + std::to_string(1 + Pick(200))};
        break;
      case 1:
        changed->export_to = {Pick(2) == 0, {changed->ns}};
        break;
      case 2:
        if (!changed->ports.empty())
          changed->ports.front().protocol = static_cast<model::Protocol>(Pick(9));
        break;
      default:
        changed->node_local = !changed->node_local;
    }
    entry->second.front() = std::move(changed);
    next->services = std::move(services);
  }

  void Switch(model::Snapshot* next) {
    switch (Pick(3)) {
      case 0: {
        auto mesh = std::make_shared<istio::mesh::v1alpha1::MeshConfig>(*next->mesh);
        mesh->set_access_log_file(mesh->access_log_file().empty() ? "/dev/stdout" : "");
        next->mesh = std::move(mesh);
        return;
      }
      case 1:
        next->gateways = next->gateways->empty() ? full_->gateways
                                                 : std::make_shared<const model::GatewayIndex>();
        return;
      default:
        next->credentials =
            next->credentials->empty()
                ? full_->credentials
                : std::make_shared<const std::map<std::string, model::Credential>>();
    }
  }

  void ChangeEndpoints(model::Snapshot* next) {
    if (full_->endpoints->empty()) return;
    auto endpoints = std::make_shared<model::Snapshot::EndpointMap>(*next->endpoints);
    auto entry = full_->endpoints->begin();
    std::advance(entry, Pick(full_->endpoints->size()));
    auto changed = std::make_shared<model::ServiceEndpoints>(*entry->second);
    for (auto& shard : changed->shards) {
      auto copy = std::make_shared<model::ServiceEndpoints::Shard>(*shard);
      for (auto& endpoint : copy->endpoints) {
        if (Pick(3) == 0) endpoint.mtls = !endpoint.mtls;
        if (Pick(3) == 0) endpoint.weight = 1 + Pick(5);
        if (Pick(3) == 0) endpoint.health = static_cast<model::Health>(Pick(4));
        if (Pick(3) == 0) endpoint.address = "10.88.0." + std::to_string(1 + Pick(200));
      }
      if (Pick(3) == 0) copy->endpoints.clear();
      shard = std::move(copy);
    }
    if (Pick(4) == 0)
      changed->service_accounts.insert("spiffe://cluster.local/ns/x/sa/" + std::to_string(Pick(3)));
    (*endpoints)[entry->first] = std::move(changed);
    if (Pick(6) == 0) endpoints->erase(entry->first);
    next->endpoints = std::move(endpoints);
  }

  const SnapshotPtr full_;
  SnapshotPtr now_;
  std::mt19937 random_;
};

using Case = std::tuple<std::string, unsigned>;
class IncrementalTest : public testing::TestWithParam<Case> {};

/// The promise of Translator: however a snapshot was reached, the views are those of a fresh start.
TEST_P(IncrementalTest, AnySequenceOfChangesEqualsAFreshBuild) {
  const auto& [scenario, seed] = GetParam();
  const TestWorld world = ReadWorld(scenario);
  Mutator mutator(world, seed);
  Translator incremental;
  SnapshotPtr before = world.snapshot;
  incremental.Update(before, model::ChangeSet{.everything = true});
  for (int step = 0; step < 40; ++step) {
    const SnapshotPtr now = mutator.Step();
    incremental.Update(now, Difference(*before, *now));
    before = now;
    Translator fresh;
    fresh.Update(now, model::ChangeSet{.everything = true});
    for (const auto& [name, proxy] : world.proxies) {
      if (mutator.Pick(3) == 0) continue;  // Some proxies ask late.
      SCOPED_TRACE(scenario + "/" + name + " at step " + std::to_string(step));
      const auto got = Bytes(*incremental.ViewFor(proxy));
      const auto want = Bytes(*fresh.ViewFor(proxy));
      ASSERT_EQ(got.size(), want.size());
      for (const auto& [type, list] : want) {
        ASSERT_EQ(got.at(type).size(), list.size()) << type;
        for (size_t i = 0; i < list.size(); ++i) {
          ASSERT_EQ(got.at(type)[i].first, list[i].first) << type;
          ASSERT_TRUE(got.at(type)[i].second == list[i].second)
              << type << " " << list[i].first << " differs";
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, IncrementalTest,
                         testing::Combine(testing::Values("two-networks", "routing", "mtls",
                                                          "ingress", "egress", "authorization",
                                                          "sidecar-scope", "locality", "tokens",
                                                          "telemetry", "envoy-filter"),
                                          testing::Values(1u, 2u, 3u)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_" +
                                              std::to_string(std::get<1>(info.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

std::shared_ptr<model::Snapshot> Copy(const SnapshotPtr& from) {
  auto copy = std::make_shared<model::Snapshot>(*from);
  ++copy->version;
  return copy;
}

class SharingTest : public testing::Test {
 protected:
  void Start(const std::string& scenario) {
    world_ = ReadWorld(scenario);
    translator_.Update(world_.snapshot, model::ChangeSet{.everything = true});
  }
  std::shared_ptr<const model::View> Apply(const SnapshotPtr& next, const std::string& proxy) {
    translator_.Update(next, Difference(*world_.snapshot, *next));
    return translator_.ViewFor(world_.proxies.at(proxy));
  }
  TestWorld world_;
  Translator translator_;
};

TEST_F(SharingTest, NothingBeforeTheFirstSnapshot) {
  EXPECT_EQ(translator_.ViewFor(model::Proxy()), nullptr);
}

TEST_F(SharingTest, ProxiesThatSeeTheSameShareTheView) {
  Start("two-networks");
  model::Proxy twin = world_.proxies.at("sidecar");
  twin.pod = "helloworld-1";
  twin.id = "helloworld-1.sample";
  twin.addresses = {"172.20.0.11"};
  EXPECT_EQ(translator_.ViewFor(twin), translator_.ViewFor(world_.proxies.at("sidecar")));
  // Another workload of the namespace shares the outbound part only.
  model::Proxy other = twin;
  other.labels = {{"app", "echo"}};
  other.id = "echo-0.sample";
  const auto view = translator_.ViewFor(other);
  const auto base = translator_.ViewFor(twin);
  const auto& clusters = view->types.at(std::string(kClusterType));
  EXPECT_EQ(clusters[0], base->types.at(std::string(kClusterType))[0]);
  EXPECT_NE(clusters[1], base->types.at(std::string(kClusterType))[1]);
}

TEST_F(SharingTest, AnEndpointChangeReplacesOneShard) {
  Start("two-networks");
  const auto before = translator_.ViewFor(world_.proxies.at("sidecar"));
  const auto built = translator_.stats().parts_built;
  auto next = Copy(world_.snapshot);
  auto endpoints = std::make_shared<model::Snapshot::EndpointMap>(*next->endpoints);
  auto& host = endpoints->at("helloworld.sample.svc.cluster.local/sample");
  auto changed = std::make_shared<model::ServiceEndpoints>(*host);
  auto shard = std::make_shared<model::ServiceEndpoints::Shard>(*changed->shards.front());
  shard->endpoints.front().weight = 9;
  changed->shards.front() = shard;
  host = changed;
  next->endpoints = endpoints;
  const auto after = Apply(next, "sidecar");
  EXPECT_EQ(translator_.stats().parts_built, built + 1);
  for (std::string_view type : {kClusterType, kListenerType, kRouteType}) {
    EXPECT_EQ(after->types.at(std::string(type)), before->types.at(std::string(type))) << type;
  }
  const auto& now = after->types.at(std::string(kEndpointType));
  const auto& then = before->types.at(std::string(kEndpointType));
  int replaced = 0;
  for (size_t i = 0; i < now.size(); ++i) replaced += now[i] != then[i];
  EXPECT_EQ(replaced, 1);
}

TEST_F(SharingTest, AVirtualServiceChangeTouchesTheRoutesItIsAbout) {
  Start("routing");
  const auto before = translator_.ViewFor(world_.proxies.at("client"));
  auto next = Copy(world_.snapshot);
  auto list = std::make_shared<config::ObjectList<istio::networking::v1::VirtualService>>();
  for (const auto& object : *next->configs.virtual_services) {
    if (object->meta.name != "outside") list->push_back(object);
  }
  next->configs.virtual_services = list;
  const auto after = Apply(next, "client");
  EXPECT_EQ(after->types.at(std::string(kClusterType)),
            before->types.at(std::string(kClusterType)));
  EXPECT_EQ(after->types.at(std::string(kListenerType)),
            before->types.at(std::string(kListenerType)));
  EXPECT_EQ(after->Find(kRouteType, "9080"), before->Find(kRouteType, "9080"));
  EXPECT_NE(after->Find(kRouteType, "80"), before->Find(kRouteType, "80"));
}

TEST_F(SharingTest, ARebuildWithTheSameResultIsNoChange) {
  Start("two-networks");
  const auto before = translator_.ViewFor(world_.proxies.at("sidecar"));
  auto next = Copy(world_.snapshot);
  // The same services again, in new memory.
  auto services = std::make_shared<model::Snapshot::ServiceMap>();
  for (const auto& [host, list] : *next->services) {
    for (const auto& service : list)
      (*services)[host].push_back(std::make_shared<model::Service>(*service));
  }
  next->services = services;
  const auto after = Apply(next, "sidecar");
  for (const auto& [type, sets] : before->types) {
    // The outbound sets come first; those of the workload itself are made anew.
    EXPECT_EQ(after->types.at(type).front(), sets.front()) << type;
  }
  EXPECT_EQ(after->Find(kListenerType, "virtualInbound"),
            before->Find(kListenerType, "virtualInbound"));
}

}  // namespace
}  // namespace isthmus::translate
