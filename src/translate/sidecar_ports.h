#pragma once

#include <map>
#include <string>
#include <vector>

#include "translate/class_inputs.h"

namespace isthmus::translate {

/// One port of one service.
struct ServicePort {
  ServicePtr service;
  const model::Port* port = nullptr;  ///< Within `service`.
};

/// How the ports of the services that a class sees become outbound listeners.
struct SidecarPorts {
  /// A listener of its own on one address: the service's, or a pod's of a headless service.
  struct Addressed {
    ServicePort target;
    std::string address;
  };
  /// What shares the listener on all addresses of a port number.
  struct Wildcard {
    bool http = false;
    std::vector<ServicePort> streams;  ///< TCP and TLS services without an address of their own.
  };
  std::vector<Addressed> addressed;  ///< In creation order, one for an address and port.
  std::map<int, Wildcard> wildcards;
};
SidecarPorts PlanSidecarPorts(const ClassInputs& inputs);

/// The addresses under which proxies of the class may dial the service; ranges have a '/'.
std::vector<std::string> DialledAddresses(const ProxyClass& proxy, const model::Service& service);

}  // namespace isthmus::translate
