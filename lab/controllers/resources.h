#pragma once

#include "kubeapi/resources.h"

namespace isthmus::lab::controllers {

using kubeapi::kConfigMaps;
using kubeapi::kDaemonSets;
using kubeapi::kDeployments;
using kubeapi::kEndpointSlices;
using kubeapi::kEvents;
using kubeapi::kJobs;
using kubeapi::kNamespaces;
using kubeapi::kNodes;
using kubeapi::kPods;
using kubeapi::kReplicaSets;
using kubeapi::kSecrets;
using kubeapi::kServiceAccounts;
using kubeapi::kServices;
using kubeapi::kStatefulSets;
using kubeapi::Resource;

// The resources that the controllers watch or write.
inline const Resource kEndpoints{"", "v1", "endpoints", "Endpoints", true};
inline const Resource kDisruptionBudgets{"policy", "v1", "poddisruptionbudgets",
                                         "PodDisruptionBudget", true};
inline const Resource kAutoscalers{"autoscaling", "v2", "horizontalpodautoscalers",
                                   "HorizontalPodAutoscaler", true};
inline const Resource kClaims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true};
inline const Resource kSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests",
                                       "CertificateSigningRequest", false};

}  // namespace isthmus::lab::controllers
