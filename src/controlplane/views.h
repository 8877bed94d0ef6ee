#pragma once

#include <functional>

#include "ads/view_source.h"
#include "translate/translator.h"

namespace isthmus::controlplane {

/// Lets the ADS streams ask the translator, by the names that the registry has for clusters.
class Views final : public ads::ViewSource {
 public:
  using KnownAs = std::function<model::ClusterId(const model::ClusterId& claimed)>;
  Views(translate::Translator& translator, KnownAs known_as)
      : translator_(translator), known_as_(std::move(known_as)) {}

  std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy) override {
    const model::ClusterId cluster = known_as_(proxy.cluster);
    if (cluster == proxy.cluster) return translator_.ViewFor(proxy);
    return translator_.ViewFor(In(cluster, proxy));
  }
  void Forget(const model::Proxy& proxy) override {
    translator_.Forget(proxy);
    translator_.Forget(In(known_as_(proxy.cluster), proxy));
  }

 private:
  static model::Proxy In(const model::ClusterId& cluster, model::Proxy proxy) {
    proxy.cluster = cluster;
    return proxy;
  }

  translate::Translator& translator_;
  const KnownAs known_as_;
};

}  // namespace isthmus::controlplane
