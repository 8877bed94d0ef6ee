#pragma once

#include "kubeapi/resources.h"
namespace isthmus::lab::controllers {

using kubeapi::kConfigMaps;
using kubeapi::kDeployments;
using kubeapi::kEndpointSlices;
using kubeapi::kNamespaces;
using kubeapi::kNodes;
using kubeapi::kPods;
using kubeapi::kSecrets;
using kubeapi::kServices;

using kubeapi::Resource;

// The resources that the controllers watch or write.
inline const Resource kEndpoints{"", "v1", "endpoints", "Endpoints", true};
inline const Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount", true};
inline const Resource kReplicaSets{"apps", "v1", "replicasets", "ReplicaSet", true};
inline const Resource kDaemonSets{"apps", "v1", "daemonsets", "DaemonSet", true};
inline const Resource kStatefulSets{"apps", "v1", "statefulsets", "StatefulSet", true};
inline const Resource kJobs{"batch", "v1", "jobs", "Job", true};
inline const Resource kDisruptionBudgets{"policy", "v1", "poddisruptionbudgets",
                                         "PodDisruptionBudget", true};
inline const Resource kAutoscalers{"autoscaling", "v2", "horizontalpodautoscalers",
                                   "HorizontalPodAutoscaler", true};
inline const Resource kClaims{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true};
inline const Resource kEvents{"", "v1", "events", "Event", true};
inline const Resource kSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests",
                                       "CertificateSigningRequest", false};

}  // namespace isthmus::lab::controllers
