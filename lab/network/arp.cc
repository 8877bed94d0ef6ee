#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "lab/network/netlink.h"

namespace isthmus::lab::network {
namespace {

// RFC 826 for Ethernet and IPv4.
struct [[gnu::packed]] ArpPacket {
  uint8_t to[6], from[6];
  uint16_t type, hardware, protocol;
  uint8_t hardware_size, protocol_size;
  uint16_t operation;
  uint8_t sender_mac[6];
  uint32_t sender;
  uint8_t target_mac[6];
  uint32_t target;
};

}  // namespace

base::Status AnnounceAddress(const std::string& device, uint32_t address) {
  Fd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ARP)));
  if (!fd.valid()) return base::Error(base::Code::kInternal, "packet socket: {}", strerror(errno));
  ifreq request{};
  strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
  if (ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0)
    return base::Error(base::Code::kNotFound, "no network device {}", device);
  ArpPacket packet{};
  memset(packet.to, 0xff, 6);
  memcpy(packet.from, request.ifr_hwaddr.sa_data, 6);
  memcpy(packet.sender_mac, packet.from, 6);
  packet.type = htons(ETH_P_ARP);
  packet.hardware = htons(ARPHRD_ETHER);
  packet.protocol = htons(ETH_P_IP);
  packet.hardware_size = 6;
  packet.protocol_size = 4;
  packet.operation = htons(ARPOP_REQUEST);
  packet.sender = packet.target = htonl(address);
  if (ioctl(fd.get(), SIOCGIFINDEX, &request) != 0)
    return base::Error(base::Code::kNotFound, "no network device {}", device);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = request.ifr_ifindex;
  to.sll_halen = 6;
  memset(to.sll_addr, 0xff, 6);
  if (sendto(fd.get(), &packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0)
    return base::Error(base::Code::kInternal, "announcing {}: {}", FormatIpv4(address),
                       strerror(errno));
  return {};
}

}  // namespace isthmus::lab::network
