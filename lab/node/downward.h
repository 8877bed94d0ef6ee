#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kubeapi/json.h"
#include "lab/node/pod_source.h"

namespace isthmus::lab::node {

/// The value of a fieldRef ("metadata.labels['app']", "status.podIP"). `pod_ip` is given because
/// the pod's own status may not say it yet.
base::Result<std::string> PodField(const kubeapi::Json& pod, std::string_view path,
                                   const std::string& pod_ip, const NodeFacts& node);

/// The value of a resourceFieldRef ({resource, divisor}) of a container; what has no limit gets the
/// node's.
base::Result<std::string> ResourceField(const kubeapi::Json& container, const kubeapi::Json& ref,
                                        const NodeFacts& node);

/// Replaces $(NAME) by the variable's value; $$(NAME) stands for $(NAME), unknown names stay as
/// they are.
std::string ExpandVariables(std::string_view text, const std::vector<std::string>& env);

/// The container's whole environment, "NAME=value": of services, then the image, envFrom, and env
/// in order, each able to use those before it. Errors name the variable and the object that is
/// missing.
base::Result<std::vector<std::string>> BuildEnv(const kubeapi::Json& pod,
                                                const kubeapi::Json& container,
                                                const std::vector<std::string>& image_env,
                                                const std::string& pod_ip, const NodeFacts& node,
                                                PodSource& source);

}  // namespace isthmus::lab::node
