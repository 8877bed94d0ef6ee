#include "lab/apiserver/allocator.h"

#include <arpa/inet.h>

#include "base/encoding.h"
#include "base/strings.h"

namespace isthmus::lab::apiserver {
namespace {

std::optional<uint32_t> ParseAddress(const std::string& ip) {
  in_addr address{};
  if (inet_pton(AF_INET, ip.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string AddressText(uint32_t value) {
  in_addr address{htonl(value)};
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof(text));
  return text;
}

}  // namespace

base::Result<std::unique_ptr<Allocator>> Allocator::Create(Store& store, const std::string& cidr,
                                                           int port_min, int port_max) {
  const auto [network, bits] = base::Cut(cidr, "/");
  auto base_address = ParseAddress(std::string(network));
  auto prefix = base::ParseInt(bits);
  if (!base_address || !prefix.ok() || *prefix < 8 || *prefix > 30)
    return base::Error(base::Code::kInvalidArgument,
                       "service range {}: want an IPv4 range such as 10.96.0.0/16", cidr);
  if (port_min < 1 || port_max > 65535 || port_min > port_max)
    return base::Error(base::Code::kInvalidArgument, "node-port range {}-{} is no range of ports",
                       port_min, port_max);
  std::unique_ptr<Allocator> allocator(new Allocator());
  allocator->cidr_ = cidr;
  allocator->size_ = 1u << (32 - *prefix);
  allocator->base_ = *base_address & ~(allocator->size_ - 1);
  allocator->port_min_ = port_min;
  allocator->port_max_ = port_max;
  // Starting at a place of the cluster's own keeps two fresh clusters from handing out the same
  // addresses in the same order, as random allocation does in Kubernetes.
  const uint64_t seed = base::Hash64(cidr);
  allocator->next_address_ = static_cast<uint32_t>(seed % allocator->size_);
  allocator->next_port_ = static_cast<int>((seed >> 20) % (port_max - port_min + 1));
  store.List("services", "", std::nullopt, [&](const ObjectKey& key, std::string_view text) {
    allocator->Add(key.ns + "/" + key.name, Json::parse(text, nullptr, false));
    return true;
  });
  allocator->subscription_ =
      store.Observe([raw = allocator.get()](const StoreEvent& event) { raw->Note(event); });
  return allocator;
}

void Allocator::Note(const StoreEvent& event) {
  if (event.key.resource != "services") return;
  const std::string owner = event.key.ns + "/" + event.key.name;
  std::erase_if(addresses_, [&](const auto& entry) { return entry.second == owner; });
  std::erase_if(ports_, [&](const auto& entry) { return entry.second == owner; });
  if (event.kind != StoreEvent::Kind::kDeleted)
    Add(owner, Json::parse(*event.object, nullptr, false));
}

void Allocator::Add(const std::string& owner, const Json& service) {
  const std::string ip = kubeapi::StringAt(service, {"spec", "clusterIP"});
  if (ParseAddress(ip)) addresses_[ip] = owner;
  if (const Json* ports = kubeapi::Find(service, {"spec", "ports"}); ports && ports->is_array())
    for (const Json& port : *ports)
      if (const int64_t number = kubeapi::IntAt(port, {"nodePort"}))
        ports_[{static_cast<int>(number), kubeapi::StringAt(port, {"protocol"})}] = owner;
  if (const int64_t port = kubeapi::IntAt(service, {"spec", "healthCheckNodePort"}))
    ports_[{static_cast<int>(port), "TCP"}] = owner;
}

bool Allocator::ContainsAddress(const std::string& ip) const {
  auto value = ParseAddress(ip);
  return value && *value - base_ > 0 && *value - base_ < size_ - 1;
}

std::string Allocator::FirstAddress() const { return AddressText(base_ + 1); }

std::optional<std::string> Allocator::FreeAddress() const {
  for (uint32_t tries = 0; tries < size_; ++tries) {
    next_address_ = (next_address_ + 1) % size_;
    if (next_address_ < 2 || next_address_ == size_ - 1) continue;
    // The tenth is where cluster DNS is expected by convention.
    if (next_address_ == 10) continue;
    std::string ip = AddressText(base_ + next_address_);
    if (!addresses_.count(ip)) return ip;
  }
  return std::nullopt;
}

bool Allocator::AddressTaken(const std::string& ip, const std::string& by) const {
  auto it = addresses_.find(ip);
  return it != addresses_.end() && it->second != by;
}

bool Allocator::PortTaken(int port, const std::string& protocol, const std::string& by) const {
  auto it = ports_.find({port, protocol});
  return it != ports_.end() && it->second != by;
}

std::optional<int> Allocator::FreePort(const std::set<int>& but) const {
  const int size = port_max_ - port_min_ + 1;
  for (int tries = 0; tries < size; ++tries) {
    next_port_ = (next_port_ + 7919) % size;
    const int port = port_min_ + next_port_;
    auto it = ports_.lower_bound({port, ""});
    if ((it == ports_.end() || it->first.first != port) && !but.count(port)) return port;
  }
  return std::nullopt;
}

}  // namespace isthmus::lab::apiserver
