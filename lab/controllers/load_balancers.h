#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Which addresses the load balancers of a cluster give.
struct AddressPool {
  std::vector<std::string> addresses;        ///< Given in order; empty: services stay pending.
  std::map<std::string, std::string> fixed;  ///< By "namespace/service"; win over the pool.
};
/// Spells out "192.168.229.200-192.168.229.220" and single addresses. The error names the text that
/// is no range.
base::Result<std::vector<std::string>> ExpandAddresses(const std::vector<std::string>& ranges);

/// Gives Services of type LoadBalancer their address in status.loadBalancer; what answers on it is
/// the node's business.
class LoadBalancerController final : public Controller {
 public:
  explicit LoadBalancerController(AddressPool pool) : pool_(std::move(pool)) {}
  std::string_view name() const override { return "loadbalancer"; }
  std::vector<std::string> KeysFor(const World& world, const Resource& resource, const Json& object,
                                   bool gone) const override;
  std::vector<Write> Reconcile(const World& world, const std::string& key) override;

 private:
  const AddressPool pool_;
};

}  // namespace isthmus::lab::controllers
