#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ads/debug.h"
#include "ads/server.h"
#include "controlplane/web.h"
#include "model/snapshot.h"
#include "registry/mesh_registry.h"

namespace isthmus::controlplane {

/// What the debug pages look at. Everything outlives them.
struct DebugSources {
  const ads::Server& xds;
  const ads::Debug& proxies;
  const registry::MeshRegistry& registry;
  std::string cluster;
};

/// The pages below /debug/, for HTTP and for istio.io/debug over xDS alike: what the program knows,
/// printed. Lives on the loop.
class DebugPages {
 public:
  explicit DebugPages(DebugSources sources);

  /// "syncz", "config_dump?proxyID=x.ns", "edsz?..." and so on, without "/debug/". The error says
  /// which pages there are when there is no such one.
  base::Result<std::string> Show(std::string_view path_and_query) const;
  /// As an HTTP page; an empty path lists the pages.
  Page Answer(const http::RequestHead& head) const;

 private:
  struct Entry {
    std::string name;
    std::string help;
    std::function<base::Result<std::string>(const http::RequestHead&)> show;
  };
  std::string List() const;
  DebugSources sources_;
  std::vector<Entry> entries_;
};

}  // namespace isthmus::controlplane
