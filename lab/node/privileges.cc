#include "lab/node/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

namespace isthmus::lab::node {
namespace {

// In the order of their numbers, from 0.
constexpr std::string_view kNames[] = {"CHOWN",
                                       "DAC_OVERRIDE",
                                       "DAC_READ_SEARCH",
                                       "FOWNER",
                                       "FSETID",
                                       "KILL",
                                       "SETGID",
                                       "SETUID",
                                       "SETPCAP",
                                       "LINUX_IMMUTABLE",
                                       "NET_BIND_SERVICE",
                                       "NET_BROADCAST",
                                       "NET_ADMIN",
                                       "NET_RAW",
                                       "IPC_LOCK",
                                       "IPC_OWNER",
                                       "SYS_MODULE",
                                       "SYS_RAWIO",
                                       "SYS_CHROOT",
                                       "SYS_PTRACE",
                                       "SYS_PACCT",
                                       "SYS_ADMIN",
                                       "SYS_BOOT",
                                       "SYS_NICE",
                                       "SYS_RESOURCE",
                                       "SYS_TIME",
                                       "SYS_TTY_CONFIG",
                                       "MKNOD",
                                       "LEASE",
                                       "AUDIT_WRITE",
                                       "AUDIT_CONTROL",
                                       "SETFCAP",
                                       "MAC_OVERRIDE",
                                       "MAC_ADMIN",
                                       "SYSLOG",
                                       "WAKE_ALARM",
                                       "BLOCK_SUSPEND",
                                       "AUDIT_READ",
                                       "PERFMON",
                                       "BPF",
                                       "CHECKPOINT_RESTORE"};
constexpr uint64_t kAll = (uint64_t{1} << std::size(kNames)) - 1;

base::Result<uint64_t> Bit(std::string name) {
  if (name.starts_with("CAP_")) name.erase(0, 4);
  if (name == "ALL") return kAll;
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames))
    return base::Error(base::Code::kInvalidArgument, "unknown capability \"{}\"", name);
  return uint64_t{1} << (found - std::begin(kNames));
}

}  // namespace

base::Result<uint64_t> CapabilitySet(const ContainerConfig& config) {
  if (config.privileged) return kAll;
  uint64_t set = 0;
  for (const char* name :
       {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"})
    set |= *Bit(name);
  // As container runtimes do: "ALL" first, whichever list it is in, then the single names.
  for (const bool all : {true, false}) {
    for (const std::string& name : config.drop_capabilities) {
      ASSIGN_OR_RETURN(const uint64_t bit, Bit(name), "securityContext.capabilities.drop");
      if ((bit == kAll) == all) set &= ~bit;
    }
    for (const std::string& name : config.add_capabilities) {
      ASSIGN_OR_RETURN(const uint64_t bit, Bit(name), "securityContext.capabilities.add");
      if ((bit == kAll) == all) set |= bit;
    }
  }
  return set;
}

base::Status TakeIdentity(const ContainerConfig& config) {
  ASSIGN_OR_RETURN(const uint64_t set, CapabilitySet(config), "capabilities");
  for (size_t i = 0; i < std::size(kNames); ++i)
    if ((set & (uint64_t{1} << i)) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0 &&
        errno != EINVAL)
      return base::ErrnoError("dropping a capability");
  std::vector<gid_t> groups(config.groups.begin(), config.groups.end());
  if (setgroups(groups.size(), groups.data()) != 0) return base::ErrnoError("setting groups");
  if (setresgid(config.gid, config.gid, config.gid) != 0)
    return base::ErrnoError("setting the group");
  if (setresuid(config.uid, config.uid, config.uid) != 0)
    return base::ErrnoError("setting the user");
  if (config.uid == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    for (int i = 0; i < 2; ++i)
      data[i].effective = data[i].permitted = static_cast<uint32_t>(set >> (32 * i));
    if (syscall(SYS_capset, &header, data) != 0) return base::ErrnoError("setting capabilities");
  }
  if (config.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return base::ErrnoError("barring new privileges");
  return {};
}

}  // namespace isthmus::lab::node
