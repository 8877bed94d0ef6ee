#pragma once

#include <functional>
#include <memory>

#include "http/server.h"
#include "inject/webhooks.h"

namespace isthmus::controlplane {

/// Serves the injection and validation webhooks on an HTTP server. Lives on its loop and outlives
/// the streams.
class WebhookServer {
 public:
  using MeshPtr = std::shared_ptr<const istio::mesh::v1alpha1::MeshConfig>;
  /// What injection needs; null for what is not known (yet).
  struct Sources {
    const inject::InjectorConfig* injector = nullptr;
    MeshPtr mesh;
  };
  /// Tells the sources for pods of a cluster ("" when the request names none); they are valid
  /// inside the call.
  using SourcesOf =
      std::function<void(const std::string& cluster, const std::function<void(const Sources&)>&)>;
  WebhookServer(SourcesOf sources, bool native_sidecars, bool inject, bool validate);

  bool Serves(const http::RequestHead& head) const;
  void Serve(const std::shared_ptr<http::ServerStream>& stream);
  const inject::InjectionStats& injection_stats() const { return injection_; }
  const inject::ValidationStats& validation_stats() const { return validation_; }

 private:
  void Inject(const std::shared_ptr<http::ServerStream>& stream, std::string body);

  const SourcesOf sources_;
  const bool native_sidecars_;
  const bool inject_;
  const bool validate_;
  inject::InjectionStats injection_;
  inject::ValidationStats validation_;
};

}  // namespace isthmus::controlplane
