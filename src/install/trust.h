#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "install/cluster_access.h"
#include "pki/signer.h"

namespace isthmus::install {

/// The common root of a topology, kept as root-key.pem and root-cert.pem in a folder.
struct TopologyRoot {
  pki::IssuingCa ca;
  bool made = false;  ///< Whether it was made just now.
};
/// Reads the root of `directory`, or makes one there when neither file exists. The error names the
/// file that is wrong.
base::Result<TopologyRoot> LoadOrMakeRoot(const std::string& directory, const base::Clock& clock);

/// Secret cacerts of one cluster: an intermediate of the root for its istiod.
base::Result<Json> MakeCaCerts(const TopologyRoot& root, const std::string& cluster,
                               const std::string& ns);

/// Whether a Secret cacerts that a cluster has fits the root; the error says which key is missing
/// or does not chain.
base::Status CheckCaCerts(const Json& secret, const pki::TrustBundle& roots,
                          const base::Clock& clock);

/// Whether it is whole in itself: key, certificate, chain and the root that it names itself.
base::Status CheckOwnCaCerts(const Json& secret, const base::Clock& clock);

}  // namespace isthmus::install
