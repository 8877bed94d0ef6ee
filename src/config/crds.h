#pragma once

#include <vector>

#include "kubeapi/json.h"

namespace isthmus::config {

/// The CustomResourceDefinitions of all kinds, apiextensions.k8s.io/v1, with structural schemas
/// made from the messages of the specs. Labelled app=istio-pilot, chart=istio, heritage and release
/// as Istio's charts do, so that either installer finds the other's.
std::vector<kubeapi::Json> Crds();

}  // namespace isthmus::config
