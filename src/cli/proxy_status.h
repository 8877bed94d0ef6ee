#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/pods.h"

namespace isthmus::cli {

/// The rows of `ps` out of what each istiod says in /debug/syncz. `ns` leaves only proxies of that
/// namespace. Answers that are no list of proxies are an error naming the istiod.
base::Result<std::string> ProxyStatusTable(const std::vector<IstiodAnswer>& answers,
                                           std::string_view ns);

/// The rows of `remote-clusters` out of /debug/clusterz.
base::Result<std::string> RemoteClustersTable(const std::vector<IstiodAnswer>& answers);

}  // namespace isthmus::cli
