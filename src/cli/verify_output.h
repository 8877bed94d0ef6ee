#pragma once

#include <string>

#include "install/mesh_verify.h"
#include "kubeapi/json.h"

namespace isthmus::cli {

/// What verify found, for people: with `views`, first the endpoint view of each cluster; then the
/// traffic matrix and what was checked; what is wrong comes last, with its cause and what to do.
std::string VerifyText(const install::VerifyReport& report, const install::Topology& topology,
                       bool views);

/// The same as a list of checks; those of endpoint views carry what was expected and what is held.
kubeapi::Json VerifyJson(const install::VerifyReport& report);

}  // namespace isthmus::cli
