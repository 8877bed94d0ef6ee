#pragma once

#include "kubeapi/resource.h"

namespace isthmus::lab::node {

inline const kubeapi::Resource kPods{"", "v1", "pods", "Pod", true};
inline const kubeapi::Resource kNodes{"", "v1", "nodes", "Node", false};
inline const kubeapi::Resource kServices{"", "v1", "services", "Service", true};
inline const kubeapi::Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap", true};
inline const kubeapi::Resource kSecrets{"", "v1", "secrets", "Secret", true};
inline const kubeapi::Resource kEvents{"", "v1", "events", "Event", true};
inline const kubeapi::Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount",
                                                true};
inline const kubeapi::Resource kSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice",
                                       true};
inline const kubeapi::Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};

}  // namespace isthmus::lab::node
