#pragma once

#include <functional>

#include "ads/view_source.h"
#include "controlplane/adoption.h"
#include "translate/translator.h"

namespace isthmus::controlplane {

/// Lets the ADS streams ask the translator, by the names that the registry has for clusters: ours,
/// or that of the world of a cluster we stand in for.
class Views final : public ads::ViewSource {
 public:
  using KnownAs = std::function<model::ClusterId(const model::ClusterId& claimed)>;
  Views(translate::Translator& translator, KnownAs known_as)
      : translator_(translator), known_as_(std::move(known_as)) {}
  /// `adoption` outlives it or is taken back with null.
  void SetAdoption(Adoption* adoption) { adoption_ = adoption; }

  std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy) override {
    const model::ClusterId cluster = known_as_(proxy.cluster);
    translate::Translator* translator = TranslatorFor(cluster);
    if (translator == nullptr) return nullptr;
    if (cluster == proxy.cluster) return translator->ViewFor(proxy);
    return translator->ViewFor(In(cluster, proxy));
  }
  void Forget(const model::Proxy& proxy) override {
    const model::ClusterId cluster = known_as_(proxy.cluster);
    Adoption::World* world = adoption_ == nullptr ? nullptr : adoption_->Peek(cluster);
    for (const model::Proxy& each : {proxy, In(cluster, proxy)}) {
      translator_.Forget(each);
      if (world != nullptr) world->translator.Forget(each);
    }
  }

 private:
  static model::Proxy In(const model::ClusterId& cluster, model::Proxy proxy) {
    proxy.cluster = cluster;
    return proxy;
  }
  /// Null while it has nothing to show.
  translate::Translator* TranslatorFor(const model::ClusterId& cluster) {
    if (adoption_ == nullptr || !adoption_->Concerns(cluster)) return &translator_;
    Adoption::World* world = adoption_->Find(cluster);
    return world == nullptr ? nullptr : &world->translator;
  }

  translate::Translator& translator_;
  const KnownAs known_as_;
  Adoption* adoption_ = nullptr;
};

}  // namespace isthmus::controlplane
