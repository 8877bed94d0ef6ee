#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/encoding.h"
#include "base/log.h"
#include "registry/mesh_registry.h"
#include "tests/registry/fake_api_server.h"

namespace isthmus::controlplane {

/// Two primaries on two networks, cluster1 seen from inside: its registry, and API servers of both.
class FailoverWorld : public testing::Test {
 protected:
  FailoverWorld() : own_(loop_), other_(loop_) {
    base::SetLogLevel(base::LogLevel::kNone);
    own_.PutFile("cluster1.yaml");
    other_.PutFile("cluster2.yaml");
    PutControlPlane(own_, "172.20.0.9", true);
    PutControlPlane(other_, "172.21.0.9", true);
    own_.Put(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: istio-remote-secret-cluster2, namespace: "
        "istio-system, "
        "labels: {istio/multiCluster: 'true'}}\ndata: {cluster2: '" +
        base::Base64Encode(other_.Kubeconfig()) + "'}\n");
  }
  ~FailoverWorld() override { registry_.reset(); }

  /// Service istiod with one pod, and the roots.
  static void PutControlPlane(registry::FakeApiServer& server, const std::string& address,
                              bool ready) {
    server.Put(
        "apiVersion: v1\nkind: Service\nmetadata: {name: istiod, namespace: istio-system, uid: "
        "u-1}\n"
        "spec: {clusterIP: 10.0.0.9, selector: {app: istiod}, ports: [{name: grpc-xds, port: "
        "15010}, "
        "{name: https-dns, port: 15012}, {name: https-webhook, port: 443, targetPort: "
        "15017}]}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-ca-root-cert, namespace: "
        "istio-system}\n"
        "data: {root-cert.pem: ROOTS}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: istiod-1, namespace: istio-system, labels: "
        "{app: istiod}}\n"
        "spec: {nodeName: node-1}\nstatus: {phase: Running, podIP: " +
        address + "}\n");
    PutEndpoint(server, address, ready);
  }
  static void PutEndpoint(registry::FakeApiServer& server, const std::string& address, bool ready) {
    server.Put(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: istiod-x, "
        "namespace: "
        "istio-system, labels: {kubernetes.io/service-name: istiod}}\naddressType: IPv4\n"
        "ports: [{name: https-dns, port: 15012, protocol: TCP}]\nendpoints:\n- addresses: [" +
        address + "]\n  conditions: {ready: " + (ready ? "true" : "false") +
        "}\n  targetRef: {kind: Pod, name: istiod-1, namespace: istio-system}\n");
  }

  void StartRegistry() {
    auto config =
        kubeclient::ParseKubeconfig(own_.Kubeconfig(), "", kubeclient::KubeconfigTrust::kOwn);
    ASSERT_TRUE(config.ok());
    auto client = kubeclient::Client::Create(loop_, *config);
    ASSERT_TRUE(client.ok());
    client_ = std::move(*client);
    options_.cluster_id = model::ClusterId("cluster1");
    options_.resolve_gateways = false;
    registry_ = std::make_unique<registry::MeshRegistry>(
        loop_, *client_, clock_, metrics_, options_,
        [this](std::shared_ptr<const model::Snapshot>, const model::ChangeSet&) {
          if (changed_) changed_();
        });
    ASSERT_TRUE(Until([this] { return registry_->ready(); }));
  }
  bool Until(const std::function<bool()>& done) {
    return loop_.RunUntil(done, std::chrono::seconds(10));
  }

  base::Loop loop_;
  base::SystemClock clock_;
  base::MetricRegistry metrics_;
  registry::FakeApiServer own_;
  registry::FakeApiServer other_;
  registry::MeshRegistry::Options options_;
  std::unique_ptr<kubeclient::Client> client_;
  std::unique_ptr<registry::MeshRegistry> registry_;
  std::function<void()> changed_;
};

}  // namespace isthmus::controlplane
