#include "lab/node/pod_network.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/files.h"
#include "base/strings.h"
#include "lab/network/netns.h"

namespace isthmus::lab::node {
namespace {

using network::Cidr;
using network::Netlink;

// Every pod's next hop: an address nobody has, with this MAC on the node's end of each link.
constexpr char kGateway[] = "169.254.1.1";
constexpr char kGatewayMac[] = "ee:ee:ee:ee:ee:ee";

std::string DeviceOf(const std::string& uid) {
  return fmt::format("pod{:012x}", base::Hash64(uid) & 0xffffffffffff).substr(0, 15);
}

}  // namespace

base::Result<PodNetwork> PodNetwork::Open(std::string dir, Cidr range, std::string node_address) {
  RETURN_IF_ERROR(base::MakeDirs(dir), "pod networks");
  PodNetwork result(dir, range, std::move(node_address));
  ASSIGN_OR_RETURN(const std::vector<std::string> files, base::ListDir(dir), "pod networks");
  for (const std::string& file : files) {
    if (!file.ends_with(".ip")) continue;
    auto text = base::ReadFile(dir + "/" + file);
    auto ip = text.ok() ? Cidr::Parse(base::Trim(*text)) : base::Result<Cidr>(text.status());
    if (ip.ok()) result.taken_[file.substr(0, file.size() - 3)] = ip->address;
  }
  for (const auto& [uid, ip] : result.taken_)
    result.next_ = std::max(result.next_, ip - range.network());
  return result;
}

base::Result<PodLink> PodNetwork::Attach(
    const std::string& uid, const std::vector<std::pair<std::string, std::string>>& sysctls) {
  const auto have = taken_.find(uid);
  if (have != taken_.end()) {
    if (network::NetNs::Open(NsPath(uid)).ok() && base::Exists(dir_ + "/" + uid + ".ready"))
      return PodLink{network::FormatIpv4(have->second), NsPath(uid)};
    Detach(uid);  // A start that was broken off half way.
  }
  // .0 is the range's name and .1 the node's by custom; the last is for broadcast.
  const uint32_t usable = range_.size() - 3;
  uint32_t ip = 0;
  for (uint32_t tries = 0; tries < usable && ip == 0; ++tries) {
    next_ = next_ < 2 || next_ + 1 >= range_.size() - 1 ? 2 : next_ + 1;
    const uint32_t candidate = range_.network() + next_;
    if (std::none_of(taken_.begin(), taken_.end(),
                     [&](const auto& entry) { return entry.second == candidate; }))
      ip = candidate;
  }
  if (ip == 0)
    return base::Error(base::Code::kResourceExhausted, "no address left in the node's pod range {}",
                       range_.ToString());
  taken_[uid] = ip;
  base::Status status = base::WriteFile(dir_ + "/" + uid + ".ip", network::FormatIpv4(ip));
  if (status.ok()) status = Join(uid, ip, NsPath(uid), sysctls);
  if (status.ok()) status = base::WriteFile(dir_ + "/" + uid + ".ready", "");
  if (!status.ok()) {
    Detach(uid);
    return status;
  }
  return PodLink{network::FormatIpv4(ip), NsPath(uid)};
}

base::Status PodNetwork::Join(const std::string& uid, uint32_t ip, const std::string& path,
                              const std::vector<std::pair<std::string, std::string>>& sysctls) {
  ASSIGN_OR_RETURN(const network::NetNs ns, network::NetNs::Create(path), "pod network");
  const std::string device = DeviceOf(uid);
  ASSIGN_OR_RETURN(const Cidr gateway, Cidr::Parse(kGateway), "gateway");
  ASSIGN_OR_RETURN(const Cidr node, Cidr::Parse(node_address_), "node address");
  ASSIGN_OR_RETURN(Netlink here, Netlink::Open(), "netlink");
  RETURN_IF_ERROR(here.DeleteLink(device), "pod network");
  // No IPv6 on the link, so that no neighbour discovery delays or confuses anything; ::1 stays.
  RETURN_IF_ERROR(ns.Within([&]() -> base::Status {
    (void)network::SetSysctl("net/ipv6/conf/default/disable_ipv6", "1");
    // As container runtimes: ports below 1024 are for everyone (gateways run as user 1337).
    RETURN_IF_ERROR(network::SetSysctl("net/ipv4/ip_unprivileged_port_start", "0"), "pod network");
    for (const auto& [name, value] : sysctls) {
      if (!name.starts_with("net."))
        return base::Error(base::Code::kInvalidArgument,
                           "securityContext.sysctls: \"{}\" is not one of net.*", name);
      RETURN_IF_ERROR(network::SetSysctl(base::ReplaceAll(name, ".", "/"), value),
                      "securityContext.sysctls");
    }
    return {};
  }),
                  "pod");
  RETURN_IF_ERROR(here.AddVeth(device, "eth0", ns.fd(), kGatewayMac), "pod network");
  RETURN_IF_ERROR(ns.Within([&]() -> base::Status {
    ASSIGN_OR_RETURN(Netlink there, Netlink::Open(), "netlink");
    RETURN_IF_ERROR(there.AddAddress("eth0", Cidr{ip, 32}), "pod");
    RETURN_IF_ERROR(there.SetUp("eth0"), "pod");
    RETURN_IF_ERROR(there.AddNeighbor("eth0", gateway.address, kGatewayMac), "pod");
    return there.AddRoute(
        {.to = Cidr{0, 0}, .via = gateway.address, .device = "eth0", .onlink = true});
  }),
                  "pod network");
  RETURN_IF_ERROR(here.SetUp(device), "pod network");
  RETURN_IF_ERROR(here.AddNeighbor(device, ip, network::MacFor(device)), "pod network");
  return here.AddRoute({.to = Cidr{ip, 32}, .device = device, .source = node.address});
}

void PodNetwork::Detach(const std::string& uid) {
  if (auto netlink = Netlink::Open(); netlink.ok()) (void)netlink->DeleteLink(DeviceOf(uid));
  network::NetNs::Remove(NsPath(uid));
  Forget(uid);
}

void PodNetwork::Forget(const std::string& uid) {
  (void)base::RemoveFile(dir_ + "/" + uid + ".ready");
  (void)base::RemoveFile(dir_ + "/" + uid + ".ip");
  taken_.erase(uid);
}

std::vector<std::string> PodNetwork::Uids() const {
  std::vector<std::string> uids;
  for (const auto& [uid, ip] : taken_) uids.push_back(uid);
  return uids;
}

}  // namespace isthmus::lab::node
