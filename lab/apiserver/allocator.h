#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "lab/apiserver/store.h"

namespace isthmus::lab::apiserver {

/// Which service addresses and node ports are taken. Follows the store, so that a deleted service
/// gives back what it had. Single-threaded with the store.
class Allocator {
 public:
  static base::Result<std::unique_ptr<Allocator>> Create(Store& store, const std::string& cidr,
                                                         int port_min, int port_max);

  bool ContainsAddress(const std::string& ip) const;
  /// A free address; none when the range is used up.
  std::optional<std::string> FreeAddress() const;
  bool AddressTaken(const std::string& ip, const std::string& by) const;
  bool PortInRange(int port) const { return port >= port_min_ && port <= port_max_; }
  bool PortTaken(int port, const std::string& protocol, const std::string& by) const;
  /// A port that is free for all protocols.
  std::optional<int> FreePort(const std::set<int>& but) const;
  const std::string& cidr() const { return cidr_; }
  int port_min() const { return port_min_; }
  int port_max() const { return port_max_; }
  /// The first address of the range, which the service "kubernetes" has.
  std::string FirstAddress() const;

 private:
  Allocator() = default;
  void Note(const StoreEvent& event);
  void Add(const std::string& owner, const Json& service);

  std::string cidr_;
  uint32_t base_ = 0;
  uint32_t size_ = 0;
  int port_min_ = 0;
  int port_max_ = 0;
  std::map<std::string, std::string> addresses_;  // address -> "ns/name"
  std::map<std::pair<int, std::string>, std::string> ports_;
  mutable uint32_t next_address_ = 0;
  mutable int next_port_ = 0;
  std::shared_ptr<void> subscription_;
};

}  // namespace isthmus::lab::apiserver
