#include "model/snapshot.h"

namespace isthmus::model {

bool ChangeSet::empty() const {
  return !everything && !gateways && services.empty() && endpoints.empty() &&
         config_kinds.empty() && configs.empty() && workloads.empty() && credentials.empty();
}

void ChangeSet::Merge(const ChangeSet& later) {
  everything = everything || later.everything;
  gateways = gateways || later.gateways;
  services.insert(later.services.begin(), later.services.end());
  endpoints.insert(later.endpoints.begin(), later.endpoints.end());
  config_kinds.insert(later.config_kinds.begin(), later.config_kinds.end());
  configs.insert(later.configs.begin(), later.configs.end());
  workloads.insert(later.workloads.begin(), later.workloads.end());
  credentials.insert(later.credentials.begin(), later.credentials.end());
}

}  // namespace isthmus::model
