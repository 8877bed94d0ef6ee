#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "lab/network/fd.h"

namespace isthmus::lab::network {

/// A network namespace, held open. What it is called is a file on which the namespace is
/// bind-mounted, in a folder of the lab; the file keeps it alive without a process.
class NetNs {
 public:
  /// Makes a new namespace with its loopback up, held by the file `path` (which is made).
  static base::Result<NetNs> Create(const std::string& path);
  static base::Result<NetNs> Open(const std::string& path);
  static base::Result<NetNs> Current();
  /// Lets go of the file; the namespace ends when its last process and socket are gone.
  static void Remove(const std::string& path);

  int fd() const { return fd_.get(); }

  /// Runs `task` with the calling thread inside the namespace and comes back. Sockets made in it
  /// stay in the namespace for good: that is how one program speaks into several networks. Aborts
  /// when the way back is barred, for everything after it would happen in the wrong network.
  base::Status Within(const std::function<base::Status()>& task) const;

 private:
  explicit NetNs(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// Writes a network sysctl ("net/ipv4/ip_forward") of the current namespace.
base::Status SetSysctl(const std::string& name, const std::string& value);

}  // namespace isthmus::lab::network
