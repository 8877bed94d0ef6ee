#pragma once

#include <string>
#include <vector>

#include "kubeapi/status.h"
#include "lab/apiserver/kind.h"

namespace isthmus::lab::apiserver {

/// Defaults inside a pod's spec that depend on other fields: pull policies, requests, probes,
/// volumes.
void DefaultPodSpec(Json* spec);
/// A new pod's status: Pending, with its quality-of-service class.
void PreparePod(Json* pod);
/// A new job's selector and labels.
void PrepareJob(Json* job);
void ValidatePodSpec(const Json& spec, const std::string& at,
                     std::vector<kubeapi::StatusCause>* causes);
/// `old` is null on create; an update may change little of a pod's spec.
void ValidatePod(const Json& pod, const Json* old, std::vector<kubeapi::StatusCause>* causes);

}  // namespace isthmus::lab::apiserver
