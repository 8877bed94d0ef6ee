#include "lab/network/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "lab/network/netlink.h"

namespace isthmus::lab::network {
namespace {

// Without rights, or of a namespace that is gone, means something to callers.
base::Status NamespaceError(const std::string& doing) {
  const int number = errno;
  return base::Error(base::CodeOfErrno(number, base::Code::kInternal), "{}: {}", doing,
                     strerror(number));
}

}  // namespace

base::Result<NetNs> NetNs::Current() {
  // The thread's, not the process's: Within() moves one thread.
  Fd fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return NamespaceError("opening the current network namespace");
  return NetNs(std::move(fd));
}

base::Result<NetNs> NetNs::Open(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return NamespaceError("opening network namespace " + path);
  return NetNs(std::move(fd));
}

base::Result<NetNs> NetNs::Create(const std::string& path) {
  auto home = Current();
  if (!home.ok()) return home.status();
  Fd file(open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
  if (!file.valid()) return NamespaceError("making " + path);
  if (unshare(CLONE_NEWNET) != 0) return NamespaceError("making a network namespace");
  base::Status status;
  if (mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0)
    status = NamespaceError("holding a network namespace at " + path);
  if (status.ok()) {
    auto netlink = Netlink::Open();
    status = netlink.ok() ? netlink->SetUp("lo") : netlink.status();
  }
  if (setns(home->fd(), CLONE_NEWNET) != 0) std::abort();
  if (!status.ok()) return status;
  return Open(path);
}

void NetNs::Remove(const std::string& path) {
  umount2(path.c_str(), MNT_DETACH);
  unlink(path.c_str());
}

base::Status NetNs::Within(const std::function<base::Status()>& task) const {
  auto home = Current();
  if (!home.ok()) return home.status();
  if (setns(fd(), CLONE_NEWNET) != 0) return NamespaceError("entering a network namespace");
  base::Status status = task();
  if (setns(home->fd(), CLONE_NEWNET) != 0) std::abort();
  return status;
}

base::Status SetSysctl(const std::string& name, const std::string& value) {
  const std::string path = "/proc/sys/" + name;
  Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), value.data(), value.size()) < 0)
    return NamespaceError("writing " + value + " to " + path);
  return {};
}

}  // namespace isthmus::lab::network
