#include "lab/controllers/load_balancers.h"

#include <arpa/inet.h>

#include <set>

#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;

std::string AddressOf(const Json& service) {
  const Json* ingress = Find(service, {"status", "loadBalancer", "ingress"});
  return ingress != nullptr && ingress->is_array() && !ingress->empty()
             ? StringAt((*ingress)[0], {"ip"})
             : "";
}

bool Parse(const std::string& text, uint32_t& address) {
  in_addr parsed{};
  if (inet_pton(AF_INET, text.c_str(), &parsed) != 1) return false;
  address = ntohl(parsed.s_addr);
  return true;
}

}  // namespace

base::Result<std::vector<std::string>> ExpandAddresses(const std::vector<std::string>& ranges) {
  std::vector<std::string> addresses;
  for (const std::string& range : ranges) {
    size_t dash = range.find('-');
    uint32_t first = 0, last = 0;
    if (!Parse(range.substr(0, dash), first) ||
        !Parse(dash == std::string::npos ? range : range.substr(dash + 1), last) || last < first ||
        last - first > 4096)
      return base::Error(base::Code::kInvalidArgument,
                         "\"{}\" is no address and no range of addresses (first-last)", range);
    for (uint32_t at = first; at <= last; ++at) {
      in_addr address{htonl(at)};
      char text[INET_ADDRSTRLEN];
      addresses.emplace_back(inet_ntop(AF_INET, &address, text, sizeof text));
    }
  }
  return addresses;
}

std::vector<std::string> LoadBalancerController::KeysFor(const World& world,
                                                         const Resource& resource,
                                                         const Json& object, bool gone) const {
  if (!Same(resource, kServices)) return {};
  if (!gone) return {kubeapi::KeyOf(object)};
  // An address is free again: those that wait may have it.
  std::vector<std::string> waiting;
  for (const Json* service : world.List(kServices))
    if (StringAt(*service, {"spec", "type"}) == "LoadBalancer" && AddressOf(*service).empty())
      waiting.push_back(kubeapi::KeyOf(*service));
  return waiting;
}

std::vector<Write> LoadBalancerController::Reconcile(const World& world, const std::string& key) {
  auto [ns, service_name] = SplitKey(key);
  const Json* service = world.Get(kServices, ns, service_name);
  if (service == nullptr || kubeapi::IsBeingDeleted(*service)) return {};
  Json after = *service;
  if (StringAt(*service, {"spec", "type"}) != "LoadBalancer") {
    if (AddressOf(*service).empty()) return {};
    after["status"]["loadBalancer"] = Json::object();
    return {ReplaceStatus(kServices, std::move(after))};
  }
  if (!AddressOf(*service).empty()) return {};
  std::string address = StringAt(*service, {"spec", "loadBalancerIP"});
  if (auto fixed = pool_.fixed.find(key); fixed != pool_.fixed.end()) address = fixed->second;
  if (address.empty()) {
    std::set<std::string> taken;
    for (const auto& [name, fixed] : pool_.fixed) taken.insert(fixed);
    for (const Json* other : world.List(kServices)) taken.insert(AddressOf(*other));
    for (const std::string& candidate : pool_.addresses) {
      if (taken.contains(candidate)) continue;
      address = candidate;
      break;
    }
  }
  if (address.empty()) return {};
  after["status"]["loadBalancer"]["ingress"] = Json::array({{{"ip", address}}});
  return {ReplaceStatus(kServices, std::move(after))};
}

}  // namespace isthmus::lab::controllers
