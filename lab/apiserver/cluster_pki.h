#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "pki/certificate.h"
#include "pki/trust_bundle.h"

namespace isthmus::lab::apiserver {

/// The keys and certificates of one cluster: its CA, the API server's serving certificate, client
/// certificates of the admin, the controllers and the server itself (towards kubelets), and the
/// service-account key. Made on the first start and kept in files (0600); a serving certificate
/// that lacks a wanted name is made anew.
struct ClusterPki {
  pki::KeyCertificate ca;
  std::shared_ptr<const pki::KeyCertificate> serving;
  std::shared_ptr<const pki::KeyCertificate> kubelet_client;
  std::shared_ptr<const pki::TrustBundle> roots;
  pki::PrivateKey service_account_key;

  /// `sans` are DNS names and IP addresses; those every cluster has are added.
  static base::Result<ClusterPki> LoadOrCreate(const std::string& folder,
                                               const std::vector<std::string>& sans,
                                               const base::Clock& clock);
};

/// Writes a kubeconfig with one context for a client certificate out of `folder` ("admin").
base::Status WriteKubeconfig(const std::string& folder, const std::string& user,
                             const std::string& server, const std::string& context,
                             const std::string& path);

}  // namespace isthmus::lab::apiserver
