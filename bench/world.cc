#include "bench/world.h"

#include <fmt/format.h>

#include <cstdio>
#include <deque>
#include <memory>

#include "config/crds.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "kubeclient/client.h"

namespace isthmus::bench {
namespace {

using kubeapi::Json;
using kubeapi::Resource;

constexpr int kAtOnce = 32;

struct Step {
  Resource resource;
  Json object;
  bool status = false;  ///< Its status is written after it.
};

Json PodOf(int service, int pod, const std::string& ns) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"name", PodName(service, pod)},
            {"namespace", ns},
            {"labels",
             {{"app", ServiceName(service)},
              {"version", "v1"},
              {"security.istio.io/tlsMode", "istio"}}}}},
          {"spec",
           {{"serviceAccountName", "default"},
            {"containers", Json::array({{{"name", "app"}, {"image", "app"}}})}}},
          {"status",
           {{"phase", "Running"},
            {"podIP", PodAddress(service, pod)},
            {"podIPs", Json::array({{{"ip", PodAddress(service, pod)}}})}}}};
}

Json ServiceOf(int service, const std::string& ns) {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"name", ServiceName(service)}, {"namespace", ns}}},
          {"spec",
           {{"selector", {{"app", ServiceName(service)}}},
            {"ports", Json::array({{{"name", "http"}, {"port", 80}, {"targetPort", 8080}},
                                   {{"name", "grpc"}, {"port", 9090}, {"targetPort", 9090}}})}}}};
}

Json SliceOf(int service, int pods, const std::string& ns) {
  Json endpoints = Json::array();
  for (int pod = 0; pod < pods; ++pod)
    endpoints.push_back(
        {{"addresses", Json::array({PodAddress(service, pod)})},
         {"conditions", {{"ready", true}}},
         {"targetRef", {{"kind", "Pod"}, {"name", PodName(service, pod)}, {"namespace", ns}}}});
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata",
           {{"name", SliceName(service)},
            {"namespace", ns},
            {"labels", {{"kubernetes.io/service-name", ServiceName(service)}}}}},
          {"addressType", "IPv4"},
          {"endpoints", std::move(endpoints)},
          {"ports", Json::array({{{"name", "http"}, {"port", 8080}, {"protocol", "TCP"}},
                                 {{"name", "grpc"}, {"port", 9090}, {"protocol", "TCP"}}})}};
}

// Creates the steps in order, some at once.
class Writer {
 public:
  Writer(base::Loop& loop, kubeclient::Client& client, std::deque<Step> steps)
      : loop_(loop), client_(client), steps_(std::move(steps)), total_(steps_.size()) {}

  bool Run() {
    for (int i = 0; i < kAtOnce; ++i) Next();
    while (written_ < total_ && problem_.empty()) {
      const size_t before = written_;
      if (!loop_.RunUntil(
              [&] { return written_ >= std::min(total_, before + 1000) || !problem_.empty(); },
              std::chrono::seconds(60)))
        problem_ = "the API server does not answer";
      std::fprintf(stderr, "%zu of %zu objects\n", written_, total_);
    }
    if (!problem_.empty()) std::fprintf(stderr, "isthmus-bench: %s\n", problem_.c_str());
    return problem_.empty();
  }

 private:
  void Next() {
    if (steps_.empty() || !problem_.empty()) return;
    auto step = std::make_shared<Step>(std::move(steps_.front()));
    steps_.pop_front();
    client_.Create(step->resource, kubeapi::NamespaceOf(step->object), step->object,
                   [this, step, alive = std::weak_ptr<bool>(alive_)](base::Result<Json> made) {
                     if (alive.expired()) return;
                     if (!made.ok() && made.status().code() != base::Code::kAlreadyExists) {
                       problem_ = kubeapi::Describe(step->object) + ": " + made.status().message();
                       return;
                     }
                     if (!step->status || !made.ok()) return Wrote();
                     client_.Patch(
                         step->resource, kubeapi::NamespaceOf(step->object),
                         kubeapi::NameOf(step->object), kubeclient::PatchType::kMerge,
                         Json{{"status", step->object["status"]}},
                         [this, alive](base::Result<Json> patched) {
                           if (alive.expired()) return;
                           if (!patched.ok()) problem_ = patched.status().message();
                           Wrote();
                         },
                         "status");
                   });
  }
  void Wrote() {
    ++written_;
    Next();
  }

  base::Loop& loop_;
  kubeclient::Client& client_;
  std::deque<Step> steps_;
  const size_t total_;
  size_t written_ = 0;
  std::string problem_;
  // Goes with the writer: what is answered after a problem is nobody's.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Json NamedObject(const char* kind, const std::string& name) {
  return {{"apiVersion", "v1"}, {"kind", kind}, {"metadata", {{"name", name}}}};
}

}  // namespace

std::string NamespaceName(int i) { return fmt::format("ns-{}", i); }
std::string ServiceName(int service) { return fmt::format("svc-{}", service); }
std::string SliceName(int service) { return ServiceName(service) + "-1"; }
std::string PodName(int service, int pod) { return fmt::format("svc-{}-{}", service, pod); }
std::string PodAddress(int service, int pod) {
  const int n = service * 16 + pod;
  return fmt::format("10.{}.{}.{}", 64 + n / 65536, n / 256 % 256, n % 256);
}

Json RouteOf(int service, const std::string& prefix) {
  const std::string name = ServiceName(service);
  const Json destination = {{"destination", {{"host", name}, {"port", {{"number", 80}}}}}};
  return {{"apiVersion", "networking.istio.io/v1"},
          {"kind", "VirtualService"},
          {"metadata", {{"name", name}, {"namespace", NamespaceName(0)}}},
          {"spec",
           {{"hosts", Json::array({name})},
            {"http", Json::array({{{"match", Json::array({{{"uri", {{"prefix", prefix}}}}})},
                                   {"route", Json::array({destination})}},
                                  {{"route", Json::array({destination})}}})}}}};
}

int WriteWorld(const std::string& kubeconfig, const WorldOptions& options) {
  base::Loop loop;
  const auto config = kubeclient::LoadKubeconfig(kubeconfig, "");
  if (!config.ok()) {
    std::fprintf(stderr, "isthmus-bench: %s\n", config.status().message().c_str());
    return 1;
  }
  auto client = kubeclient::Client::Create(loop, *config);
  if (!client.ok()) {
    std::fprintf(stderr, "isthmus-bench: %s\n", client.status().message().c_str());
    return 1;
  }
  std::deque<Step> first;
  first.push_back({kubeapi::kNamespaces, NamedObject("Namespace", "istio-system"), false});
  for (int i = 0; i < options.namespaces; ++i)
    first.push_back({kubeapi::kNamespaces, NamedObject("Namespace", NamespaceName(i)), false});
  for (const Json& crd : config::Crds()) first.push_back({kubeapi::kDefinitions, crd, false});
  std::deque<Step> rest;
  Json mesh = NamedObject("ConfigMap", "istio");
  mesh["metadata"]["namespace"] = "istio-system";
  mesh["data"] = {{"mesh", "trustDomain: cluster.local\n"}, {"meshNetworks", "networks: {}\n"}};
  rest.push_back({kubeapi::kConfigMaps, std::move(mesh), false});
  // Pods need one, and no controller is taken for granted.
  for (int i = 0; i < options.namespaces; ++i) {
    Json account = NamedObject("ServiceAccount", "default");
    account["metadata"]["namespace"] = NamespaceName(i);
    first.push_back({kubeapi::kServiceAccounts, std::move(account), false});
  }
  for (int service = 0; service < options.services; ++service) {
    const std::string ns = NamespaceName(service % options.namespaces);
    rest.push_back({kubeapi::kServices, ServiceOf(service, ns), false});
    for (int pod = 0; pod < options.pods; ++pod)
      rest.push_back({kubeapi::kPods, PodOf(service, pod, ns), true});
    rest.push_back({kubeapi::kEndpointSlices, SliceOf(service, options.pods, ns), false});
  }
  return Writer(loop, **client, std::move(first)).Run() &&
                 Writer(loop, **client, std::move(rest)).Run()
             ? 0
             : 1;
}

}  // namespace isthmus::bench
