#pragma once

#include <memory>
#include <string>

#include "agent/workload_secret.h"
#include "base/loop.h"
#include "http/server.h"

namespace isthmus::agent {

/// Serves Envoy its own certificate (`default`) and trust (`ROOTCA`) on a unix socket, in both
/// forms of xDS. A secret that is not there yet is answered when it comes. Secrets that are files
/// of the proxy's container are served by name (see MakeFileSecret). Other names are told as
/// absent: they come from the control plane. Lives on its loop; the source outlives it.
class SdsServer {
 public:
  SdsServer(base::Loop& loop, WorkloadSecretSource& source, std::string socket_path);
  ~SdsServer();
  SdsServer(const SdsServer&) = delete;
  SdsServer& operator=(const SdsServer&) = delete;

  base::Status Start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Opens a gRPC server on a unix socket that any user may connect to; a leftover of an earlier run
/// is replaced.
base::Result<std::unique_ptr<http::Server>> ServeOnSocket(base::Loop& loop, const std::string& path,
                                                          http::Handler handler);

/// The serialised Secret of that name, or "" when it is none of the workload's.
std::string MakeSecret(std::string_view name, const WorkloadSecret& secret,
                       const std::string& crl_file);

/// The same for "file-cert:CERTIFICATE~KEY" and "file-root:FILE", as rules name files; the file
/// "system" stands for the operating system's roots. Envoy reads the files, and reads them again
/// when they change. "" when a file is not there.
std::string MakeFileSecret(std::string_view name);

}  // namespace isthmus::agent
