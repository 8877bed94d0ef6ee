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
  /// Both functions are asked at each request; null means not known yet.
  WebhookServer(std::function<const inject::InjectorConfig*()> injector,
                std::function<MeshPtr()> mesh, bool native_sidecars, bool inject, bool validate);

  bool Serves(const http::RequestHead& head) const;
  void Serve(const std::shared_ptr<http::ServerStream>& stream);
  const inject::InjectionStats& injection_stats() const { return injection_; }
  const inject::ValidationStats& validation_stats() const { return validation_; }

 private:
  inject::HttpAnswer Answer(const http::RequestHead& head, const std::string& body);

  const std::function<const inject::InjectorConfig*()> injector_;
  const std::function<MeshPtr()> mesh_;
  const bool native_sidecars_;
  const bool inject_;
  const bool validate_;
  inject::InjectionStats injection_;
  inject::ValidationStats validation_;
};

}  // namespace isthmus::controlplane
