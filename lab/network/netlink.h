#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lab/network/fd.h"

namespace isthmus::lab::network {

/// An IPv4 range such as 172.20.1.0/24, or one address (/32). A value.
struct Cidr {
  uint32_t address = 0;  ///< Host byte order, as given (host bits are kept).
  int prefix = 32;

  /// Accepts "a.b.c.d" and "a.b.c.d/n".
  static base::Result<Cidr> Parse(std::string_view text);
  std::string ToString() const;  ///< "172.20.1.0/24"
  uint32_t network() const;      ///< The address with its host bits cleared.
  uint32_t size() const;         ///< How many addresses; 0 stands for all of them (/0).
  bool Contains(uint32_t other) const;
  bool Overlaps(const Cidr& other) const;
  bool operator==(const Cidr&) const = default;
};

std::string FormatIpv4(uint32_t address);

struct Route {
  Cidr to;
  uint32_t via = 0;  ///< Next hop; 0 when on the link.
  std::string device;
  uint32_t source = 0;  ///< Preferred source address; 0 leaves it to the kernel.
  bool onlink = false;  ///< The next hop is on the link although no address says so.
  bool unreachable = false;
  uint32_t metric = 0;  ///< Of routes to the same range the lowest counts.
};

/// Speaks rtnetlink to the network namespace in which it was opened (and stays there wherever the
/// thread goes). What exists already is not an error: a node that starts again finds its links.
/// Blocks, for microseconds.
class Netlink {
 public:
  static base::Result<Netlink> Open();

  /// A pair of Ethernet devices: `name` here, `peer` in the namespace of `peer_ns`. With `mac`,
  /// that is the address of `name`.
  base::Status AddVeth(const std::string& name, const std::string& peer, int peer_ns,
                       const std::string& mac = {});
  base::Status AddBridge(const std::string& name);
  base::Status SetMaster(const std::string& name, const std::string& bridge);
  base::Status SetUp(const std::string& name);
  base::Status SetDown(const std::string& name);
  base::Status SetMtu(const std::string& name, uint32_t mtu);
  base::Status DeleteLink(const std::string& name);  ///< Absent is fine.
  base::Status AddAddress(const std::string& name, const Cidr& address);
  base::Status DeleteAddress(const std::string& name, const Cidr& address);  ///< Absent is fine.
  base::Status AddRoute(const Route& route);
  base::Status DeleteRoute(const Route& route);  ///< Absent is fine.
  /// A neighbour that needs no ARP.
  base::Status AddNeighbor(const std::string& name, uint32_t address, const std::string& mac);

 private:
  explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
  base::Result<int> Index(const std::string& name);
  base::Status Address(const std::string& name, const Cidr& address, bool add);
  base::Status ChangeRoute(const Route& route, bool add);
  base::Status SetFlags(const std::string& name, unsigned flags);
  /// Sends one request and waits for its acknowledgement. `fine` is an errno that counts as
  /// success.
  base::Status Request(std::string& message, int fine = 0);

  Fd fd_;
  uint32_t sequence_ = 0;
};

/// The address 02:xx:..., worked out of a name, so that it is the same after a restart.
std::string MacFor(std::string_view name);

/// Tells the neighbours on `device` of the current namespace that `address` is here now (gratuitous
/// ARP).
base::Status AnnounceAddress(const std::string& device, uint32_t address);

}  // namespace isthmus::lab::network
