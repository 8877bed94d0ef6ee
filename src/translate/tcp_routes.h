#pragma once

#include <set>
#include <string>
#include <vector>

#include "translate/class_inputs.h"
#include "translate/filters.h"

namespace isthmus::translate {

/// One way for connections that are not HTTP: whom it matches and where it leads.
struct TcpRoute {
  std::vector<std::string> server_names;  ///< Empty: any, also connections without TLS.
  std::vector<std::string> ranges;        ///< Destination addresses "10.0.0.0/8"; empty: any.
  TcpTarget target;
};

/// The TLS routes (by SNI) of the rules for a port of `gateways` ("mesh", or full names of
/// gateways).
std::vector<TcpRoute> TlsRoutes(const ClassInputs& inputs, const RoutingRules& rules,
                                const std::set<std::string>& gateways, int port);
/// The TCP routes of the rules, up to the first that takes every connection.
std::vector<TcpRoute> TcpRoutes(const ClassInputs& inputs, const RoutingRules& rules,
                                const std::set<std::string>& gateways, int port);
/// Straight to the service's own cluster.
TcpTarget DirectTarget(const ClassInputs& inputs, const std::string& host, int port);

}  // namespace isthmus::translate
