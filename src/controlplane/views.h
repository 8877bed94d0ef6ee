#pragma once

#include "ads/view_source.h"
#include "translate/translator.h"

namespace isthmus::controlplane {

/// Lets the ADS streams ask the translator.
class Views final : public ads::ViewSource {
 public:
  explicit Views(translate::Translator& translator) : translator_(translator) {}
  std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy) override {
    return translator_.ViewFor(proxy);
  }
  void Forget(const model::Proxy& proxy) override { translator_.Forget(proxy); }

 private:
  translate::Translator& translator_;
};

}  // namespace isthmus::controlplane
