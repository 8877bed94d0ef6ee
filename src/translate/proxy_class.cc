#include "translate/proxy_class.h"

#include "translate/names.h"

namespace isthmus::translate {

bool ProxyClass::Reaches(const std::string& address) const { return IsIpv6(address) ? ipv6 : ipv4; }

bool Selects(const model::Labels& selector, const model::Labels& labels) {
  return SelectsMap(selector, labels);
}

}  // namespace isthmus::translate
