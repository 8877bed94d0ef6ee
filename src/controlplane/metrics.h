#pragma once

#include "ads/server.h"
#include "base/metrics.h"
#include "inject/webhooks.h"
#include "translate/translator.h"

namespace isthmus::controlplane {

/// Adds the gauges and counters that are read from the parts when they are printed, in Istio's
/// names. Everything given outlives the registry's last printing.
void AddMetrics(base::MetricRegistry& metrics, const ads::Server& xds,
                const translate::Translator& translator, const inject::InjectionStats& injection,
                const inject::ValidationStats& validation);

}  // namespace isthmus::controlplane
