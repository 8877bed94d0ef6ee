#pragma once

#include <memory>

#include "model/proxy.h"
#include "model/view.h"

namespace isthmus::ads {

/// Where streams get what they send. The streams do not see how it is made. Lives on the ADS loop.
class ViewSource {
 public:
  virtual ~ViewSource() = default;
  /// The newest view for this proxy; the same pointer (and the same ResourceSet pointers within)
  /// for all proxies that see the same. Null while the world is not loaded.
  virtual std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy) = 0;
  /// A stream of the proxy has ended; what only it needed may be dropped.
  virtual void Forget(const model::Proxy& proxy) {}
};

}  // namespace isthmus::ads
