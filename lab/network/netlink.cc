#include "lab/network/netlink.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>

namespace isthmus::lab::network {
namespace {

// Builds one netlink message in a string: header, fixed part, attributes (which nest).
class Message {
 public:
  template <typename Body>
  Message(uint16_t type, uint16_t flags, const Body& body) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    Append(&header, sizeof header);
    Append(&body, sizeof body);
  }
  void Bytes(uint16_t type, const void* data, size_t size) {
    rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(size)), type};
    Append(&attribute, sizeof attribute);
    Append(data, size);
  }
  void Number(uint16_t type, uint32_t value) { Bytes(type, &value, sizeof value); }
  void Ipv4(uint16_t type, uint32_t address) { Number(type, htonl(address)); }
  void Text(uint16_t type, const std::string& text) { Bytes(type, text.c_str(), text.size() + 1); }
  size_t Begin(uint16_t type) {
    const size_t at = text_.size();
    rtattr attribute{0, type};
    Append(&attribute, sizeof attribute);
    return at;
  }
  /// Adds a fixed part inside a nested attribute (the peer's ifinfomsg).
  template <typename Body>
  void Fixed(const Body& body) {
    Append(&body, sizeof body);
  }
  void End(size_t at) {
    const auto length = static_cast<uint16_t>(text_.size() - at);
    memcpy(text_.data() + at, &length, sizeof length);
  }
  std::string& text() { return text_; }

 private:
  void Append(const void* data, size_t size) {
    text_.append(static_cast<const char*>(data), size);
    text_.resize((text_.size() + 3) & ~size_t{3});
  }
  std::string text_;
};

bool ParseMac(const std::string& text, unsigned char out[6]) {
  return sscanf(text.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &out[0], &out[1], &out[2], &out[3],
                &out[4], &out[5]) == 6;
}

uint32_t Mask(int prefix) { return prefix == 0 ? 0 : ~uint32_t{0} << (32 - prefix); }

}  // namespace

base::Result<Cidr> Cidr::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  in_addr parsed{};
  Cidr cidr;
  if (inet_pton(AF_INET, address.c_str(), &parsed) != 1)
    return base::Error(base::Code::kInvalidArgument, "\"{}\" is not an IPv4 address or range",
                       text);
  cidr.address = ntohl(parsed.s_addr);
  if (slash == std::string_view::npos) return cidr;
  const std::string_view prefix = text.substr(slash + 1);
  if (prefix.empty() || prefix.size() > 2 ||
      prefix.find_first_not_of("0123456789") != std::string_view::npos ||
      (cidr.prefix = std::atoi(std::string(prefix).c_str())) > 32)
    return base::Error(base::Code::kInvalidArgument, "\"{}\" has no prefix length from 0 to 32",
                       text);
  return cidr;
}

std::string Cidr::ToString() const { return FormatIpv4(address) + "/" + std::to_string(prefix); }
uint32_t Cidr::network() const { return address & Mask(prefix); }
uint32_t Cidr::size() const { return prefix == 0 ? 0 : uint32_t{1} << (32 - prefix); }
bool Cidr::Contains(uint32_t other) const { return (other & Mask(prefix)) == network(); }
bool Cidr::Overlaps(const Cidr& other) const {
  const int shorter = prefix < other.prefix ? prefix : other.prefix;
  return ((address ^ other.address) & Mask(shorter)) == 0;
}

std::string FormatIpv4(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, (address >> 16) & 255, (address >> 8) & 255,
                     address & 255);
}

std::string MacFor(std::string_view name) {
  uint64_t hash = 1469598103934665603u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return fmt::format("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", hash & 255, (hash >> 8) & 255,
                     (hash >> 16) & 255, (hash >> 24) & 255, (hash >> 32) & 255);
}

base::Result<Netlink> Netlink::Open() {
  Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.valid())
    return base::Error(base::Code::kInternal, "opening netlink: {}", strerror(errno));
  const int yes = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  return Netlink(std::move(fd));
}

base::Status Netlink::Request(std::string& message, int fine) {
  auto* header = reinterpret_cast<nlmsghdr*>(message.data());
  header->nlmsg_len = static_cast<uint32_t>(message.size());
  header->nlmsg_seq = ++sequence_;
  if (send(fd_.get(), message.data(), message.size(), 0) < 0)
    return base::Error(base::Code::kInternal, "netlink: {}", strerror(errno));
  alignas(nlmsghdr) char buffer[8192];
  while (true) {
    const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr)))
      return base::Error(base::Code::kInternal, "netlink: short answer");
    const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer);
    if (answer->nlmsg_seq != sequence_ || answer->nlmsg_type != NLMSG_ERROR) continue;
    const int error = -reinterpret_cast<const nlmsgerr*>(buffer + sizeof(nlmsghdr))->error;
    if (error == 0 || error == fine) return {};
    const base::Code code = error == EEXIST   ? base::Code::kAlreadyExists
                            : error == ENODEV ? base::Code::kNotFound
                            : error == EPERM  ? base::Code::kPermissionDenied
                                              : base::Code::kInternal;
    return base::Error(code, "{}", strerror(error));
  }
}

base::Result<int> Netlink::Index(const std::string& name) {
  // Asks over this socket, not if_nametoindex(), which would look in the thread's namespace.
  ifinfomsg body{};
  body.ifi_family = AF_UNSPEC;
  Message message(RTM_GETLINK, 0, body);
  message.Text(IFLA_IFNAME, name);
  std::string& text = message.text();
  auto* header = reinterpret_cast<nlmsghdr*>(text.data());
  header->nlmsg_flags = NLM_F_REQUEST;
  header->nlmsg_len = static_cast<uint32_t>(text.size());
  header->nlmsg_seq = ++sequence_;
  if (send(fd_.get(), text.data(), text.size(), 0) < 0)
    return base::Error(base::Code::kInternal, "netlink: {}", strerror(errno));
  alignas(nlmsghdr) char buffer[16384];
  while (true) {
    const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof(nlmsghdr)))
      return base::Error(base::Code::kInternal, "netlink: short answer");
    const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer);
    if (answer->nlmsg_seq != sequence_) continue;
    if (answer->nlmsg_type == NLMSG_ERROR)
      return base::Error(base::Code::kNotFound, "no network device {}", name);
    return reinterpret_cast<const ifinfomsg*>(buffer + sizeof(nlmsghdr))->ifi_index;
  }
}

base::Status Netlink::AddVeth(const std::string& name, const std::string& peer, int peer_ns,
                              const std::string& mac) {
  ifinfomsg body{};
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body);
  message.Text(IFLA_IFNAME, name);
  unsigned char address[6];
  if (!mac.empty() && ParseMac(mac, address)) message.Bytes(IFLA_ADDRESS, address, sizeof address);
  const size_t info = message.Begin(IFLA_LINKINFO);
  message.Text(IFLA_INFO_KIND, "veth");
  const size_t data = message.Begin(IFLA_INFO_DATA);
  const size_t other = message.Begin(VETH_INFO_PEER);
  message.Fixed(ifinfomsg{});
  message.Text(IFLA_IFNAME, peer);
  // A fixed address lets the other side enter it as a neighbour without asking.
  const std::string peer_mac = MacFor(name);
  if (ParseMac(peer_mac, address)) message.Bytes(IFLA_ADDRESS, address, sizeof address);
  message.Number(IFLA_NET_NS_FD, static_cast<uint32_t>(peer_ns));
  message.End(other);
  message.End(data);
  message.End(info);
  return Request(message.text()).In("making veth " + name);
}

base::Status Netlink::AddBridge(const std::string& name) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  message.Text(IFLA_IFNAME, name);
  const size_t info = message.Begin(IFLA_LINKINFO);
  message.Text(IFLA_INFO_KIND, "bridge");
  message.End(info);
  return Request(message.text(), EEXIST).In("making bridge " + name);
}

base::Status Netlink::SetMaster(const std::string& name, const std::string& bridge) {
  auto index = Index(name);
  if (!index.ok()) return index.status();
  auto master = Index(bridge);
  if (!master.ok()) return master.status();
  ifinfomsg body{};
  body.ifi_index = *index;
  Message message(RTM_NEWLINK, 0, body);
  message.Number(IFLA_MASTER, static_cast<uint32_t>(*master));
  return Request(message.text()).In("putting " + name + " into bridge " + bridge);
}

base::Status Netlink::SetFlags(const std::string& name, unsigned flags) {
  auto index = Index(name);
  if (!index.ok()) return index.status();
  ifinfomsg body{};
  body.ifi_index = *index;
  body.ifi_flags = flags;
  body.ifi_change = IFF_UP;
  Message message(RTM_NEWLINK, 0, body);
  return Request(message.text()).In("switching " + name);
}

base::Status Netlink::SetUp(const std::string& name) { return SetFlags(name, IFF_UP); }
base::Status Netlink::SetDown(const std::string& name) { return SetFlags(name, 0); }

base::Status Netlink::SetMtu(const std::string& name, uint32_t mtu) {
  auto index = Index(name);
  if (!index.ok()) return index.status();
  ifinfomsg body{};
  body.ifi_index = *index;
  Message message(RTM_NEWLINK, 0, body);
  message.Number(IFLA_MTU, mtu);
  return Request(message.text()).In("setting the MTU of " + name);
}

base::Status Netlink::DeleteLink(const std::string& name) {
  auto index = Index(name);
  if (!index.ok()) return {};
  ifinfomsg body{};
  body.ifi_index = *index;
  Message message(RTM_DELLINK, 0, body);
  return Request(message.text(), ENODEV).In("removing " + name);
}

base::Status Netlink::Address(const std::string& name, const Cidr& address, bool add) {
  auto index = Index(name);
  if (!index.ok()) return index.status();
  ifaddrmsg body{};
  body.ifa_family = AF_INET;
  body.ifa_prefixlen = static_cast<uint8_t>(address.prefix);
  body.ifa_index = static_cast<uint32_t>(*index);
  Message message(add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, body);
  message.Ipv4(IFA_LOCAL, address.address);
  message.Ipv4(IFA_ADDRESS, address.address);
  return Request(message.text(), add ? EEXIST : EADDRNOTAVAIL)
      .In(fmt::format("{} address {} {} {}", add ? "giving" : "taking", address.ToString(),
                      add ? "to" : "from", name));
}

base::Status Netlink::AddAddress(const std::string& name, const Cidr& address) {
  return Address(name, address, true);
}
base::Status Netlink::DeleteAddress(const std::string& name, const Cidr& address) {
  return Address(name, address, false);
}

base::Status Netlink::ChangeRoute(const Route& route, bool add) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_dst_len = static_cast<unsigned char>(route.to.prefix);
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_type = route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
  body.rtm_scope = route.via == 0 && !route.unreachable ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (route.onlink) body.rtm_flags = RTNH_F_ONLINK;
  if (!add) body.rtm_scope = RT_SCOPE_NOWHERE;
  Message message(add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, body);
  if (route.to.prefix > 0) message.Ipv4(RTA_DST, route.to.network());
  if (route.via != 0) message.Ipv4(RTA_GATEWAY, route.via);
  if (route.source != 0) message.Ipv4(RTA_PREFSRC, route.source);
  if (route.metric != 0) message.Number(RTA_PRIORITY, route.metric);
  if (!route.device.empty()) {
    auto index = Index(route.device);
    if (!index.ok()) return index.status();
    message.Number(RTA_OIF, static_cast<uint32_t>(*index));
  }
  return Request(message.text(), add ? 0 : ESRCH)
      .In(fmt::format("{} route to {}", add ? "adding" : "removing", route.to.ToString()));
}

base::Status Netlink::AddRoute(const Route& route) { return ChangeRoute(route, true); }
base::Status Netlink::DeleteRoute(const Route& route) { return ChangeRoute(route, false); }

base::Status Netlink::AddNeighbor(const std::string& name, uint32_t address,
                                  const std::string& mac) {
  auto index = Index(name);
  if (!index.ok()) return index.status();
  ndmsg body{};
  body.ndm_family = AF_INET;
  body.ndm_ifindex = *index;
  body.ndm_state = NUD_PERMANENT;
  Message message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body);
  message.Ipv4(NDA_DST, address);
  unsigned char bytes[6];
  if (!ParseMac(mac, bytes))
    return base::Error(base::Code::kInvalidArgument, "\"{}\" is no MAC address", mac);
  message.Bytes(NDA_LLADDR, bytes, sizeof bytes);
  return Request(message.text()).In("entering neighbour " + FormatIpv4(address));
}

}  // namespace isthmus::lab::network
