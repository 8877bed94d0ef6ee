#include "agent/system_roots.h"

#include "base/files.h"

namespace isthmus::agent {

std::string SystemRootsFile() {
  for (const char* path :
       {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem"})
    if (base::Exists(path)) return path;
  return "";
}

}  // namespace isthmus::agent
