#include <set>

#include "base/strings.h"
#include "config/rules.h"
#include "istio/extensions/v1alpha1/wasm.pb.h"
#include "istio/networking/v1/envoy_filter.pb.h"
#include "istio/networking/v1/proxy_config.pb.h"
#include "istio/telemetry/v1/telemetry.pb.h"

namespace isthmus::config::rules {
namespace {

using istio::extensions::v1alpha1::WasmPlugin;
using istio::networking::v1::EnvoyFilter;
namespace telemetry = istio::telemetry::v1;

// ---- EnvoyFilter

void CheckMatchType(const EnvoyFilter::EnvoyConfigObjectPatch& patch, const At& at) {
  using Match = EnvoyFilter::EnvoyConfigObjectMatch;
  const auto type = patch.match().object_types_case();
  if (type == Match::OBJECT_TYPES_NOT_SET || type == Match::kWaypoint) return;
  Match::ObjectTypesCase wanted = type;
  switch (patch.apply_to()) {
    case EnvoyFilter::LISTENER:
    case EnvoyFilter::FILTER_CHAIN:
    case EnvoyFilter::NETWORK_FILTER:
    case EnvoyFilter::HTTP_FILTER:
    case EnvoyFilter::LISTENER_FILTER:
      wanted = Match::kListener;
      break;
    case EnvoyFilter::ROUTE_CONFIGURATION:
    case EnvoyFilter::VIRTUAL_HOST:
    case EnvoyFilter::HTTP_ROUTE:
      wanted = Match::kRouteConfiguration;
      break;
    case EnvoyFilter::CLUSTER:
      wanted = Match::kCluster;
      break;
    default:
      break;
  }
  if (type != wanted)
    at.Error(fmt::format("is of another kind than applyTo {}",
                         EnvoyFilter::ApplyTo_Name(patch.apply_to())));
}

void CheckPatch(const EnvoyFilter::EnvoyConfigObjectPatch& patch, const At& at) {
  if (patch.apply_to() == EnvoyFilter::INVALID) (at / "applyTo").Error("is missing");
  const auto operation = patch.patch().operation();
  if (!patch.has_patch() || operation == EnvoyFilter::Patch::INVALID)
    (at / "patch.operation").Error("is missing");
  if (operation != EnvoyFilter::Patch::REMOVE && !patch.patch().has_value())
    (at / "patch.value").Error("is missing");
  CheckMatchType(patch, at / "match");
  const std::string& version = patch.match().proxy().proxy_version();
  if (version.size() > 1024)
    (at / "match.proxy.proxyVersion").Warn("is longer than 1024 characters");
  else
    CheckRegex(version, at / "match.proxy.proxyVersion");
  const auto& chain = patch.match().listener().filter_chain();
  if (chain.has_filter() && chain.filter().name().empty())
    (at / "match.listener.filterChain.filter.name").Error("is missing");
  if (chain.filter().has_sub_filter()) {
    const std::string& name = chain.filter().name();
    if (patch.apply_to() != EnvoyFilter::HTTP_FILTER ||
        (name != "envoy.filters.network.http_connection_manager" &&
         name != "envoy.http_connection_manager"))
      (at / "match.listener.filterChain.filter.subFilter")
          .Error("is only for HTTP_FILTER in the HTTP connection manager");
    if (chain.filter().sub_filter().name().empty())
      (at / "match.listener.filterChain.filter.subFilter.name").Error("is missing");
  }
  const auto& value = patch.patch().value().fields();
  const bool filter = patch.apply_to() == EnvoyFilter::HTTP_FILTER ||
                      patch.apply_to() == EnvoyFilter::NETWORK_FILTER;
  const bool adds = operation == EnvoyFilter::Patch::ADD ||
                    operation == EnvoyFilter::Patch::INSERT_BEFORE ||
                    operation == EnvoyFilter::Patch::INSERT_AFTER ||
                    operation == EnvoyFilter::Patch::INSERT_FIRST;
  if (filter && adds && !value.contains("typed_config") && !value.contains("config_discovery"))
    (at / "patch.value").Warn("has no typed_config: Envoy will refuse the filter");
}

// ---- Telemetry

void CheckProviders(const google::protobuf::RepeatedPtrField<telemetry::ProviderRef>& providers,
                    const At& at) {
  for (int i = 0; i < providers.size(); ++i)
    if (providers.Get(i).name().empty()) (at[i] / "name").Error("is missing");
}

void CheckTracing(const telemetry::Tracing& tracing, const At& at) {
  CheckProviders(tracing.providers(), at / "providers");
  if (tracing.providers_size() > 1)
    (at / "providers").Warn("has more than one; only the first is used");
  if (tracing.has_random_sampling_percentage())
    CheckPercent(tracing.random_sampling_percentage().value(), at / "randomSamplingPercentage");
  for (const auto& [name, tag] : tracing.custom_tags()) {
    using Tag = telemetry::Tracing::CustomTag;
    const At where = at / "customTags" / name;
    if (name.empty()) (at / "customTags").Error("has an empty name");
    if (tag.type_case() == Tag::TYPE_NOT_SET) where.Error("is empty");
    if (tag.type_case() == Tag::kLiteral && tag.literal().value().empty())
      (where / "literal.value").Error("is missing");
    if (tag.type_case() == Tag::kEnvironment && tag.environment().name().empty())
      (where / "environment.name").Error("is missing");
    if (tag.type_case() == Tag::kHeader && tag.header().name().empty())
      (where / "header.name").Error("is missing");
  }
}

void CheckMetrics(const telemetry::Metrics& metrics, const At& at) {
  CheckProviders(metrics.providers(), at / "providers");
  if (metrics.has_reporting_interval())
    CheckDuration(metrics.reporting_interval(), at / "reportingInterval");
  for (int i = 0; i < metrics.overrides_size(); ++i)
    for (const auto& [name, tag] : metrics.overrides(i).tag_overrides()) {
      const At where = (at / "overrides")[i] / "tagOverrides" / name;
      if (tag.operation() == telemetry::MetricsOverrides::TagOverride::UPSERT &&
          tag.value().empty())
        (where / "value").Error("is missing for UPSERT");
      if (tag.operation() == telemetry::MetricsOverrides::TagOverride::REMOVE &&
          !tag.value().empty())
        (where / "value").Error("must be empty for REMOVE");
    }
}

// ---- WasmPlugin

void CheckUrl(const std::string& url, const At& at) {
  if (url.empty()) return at.Error("is missing");
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return;  // An image.
  const std::string name = url.substr(0, scheme);
  if (name != "file" && name != "http" && name != "https" && name != "oci")
    at.Error(fmt::format("'{}': the scheme must be file, http, https or oci", url));
}

void CheckEnvironment(const istio::extensions::v1alpha1::VmConfig& config, const At& at) {
  std::set<std::string> names;
  for (int i = 0; i < config.env_size(); ++i) {
    const auto& variable = config.env(i);
    if (variable.name().empty()) (at[i] / "name").Error("is missing");
    if (variable.name().size() > 256) (at[i] / "name").Error("is longer than 256 characters");
    if (!names.insert(variable.name()).second)
      (at[i] / "name").Error(fmt::format("'{}' is given twice", variable.name()));
    if (variable.value_from() != istio::extensions::v1alpha1::INLINE && !variable.value().empty())
      (at[i] / "value").Error("must be empty when valueFrom is HOST");
  }
}

}  // namespace

void CheckSpec(const Meta&, const EnvoyFilter& spec, const At& at) {
  at.Warn(
      "patches of Envoy's configuration depend on its version and on ours: check them at every "
      "upgrade");
  if (spec.has_workload_selector())
    CheckLabels(spec.workload_selector().labels(), at / "workloadSelector.labels");
  if (spec.has_workload_selector() && spec.target_refs_size() > 0)
    at.Error("has more than one of workloadSelector and targetRefs");
  for (int i = 0; i < spec.target_refs_size(); ++i)
    CheckTarget(spec.target_refs(i), (at / "targetRefs")[i]);
  for (int i = 0; i < spec.config_patches_size(); ++i)
    CheckPatch(spec.config_patches(i), (at / "configPatches")[i]);
}

void CheckSpec(const Meta&, const telemetry::Telemetry& spec, const At& at) {
  CheckAttachment(spec, at);
  if (spec.tracing_size() > 1)
    (at / "tracing").Warn("has more than one item; only the first is used");
  for (int i = 0; i < spec.tracing_size(); ++i) CheckTracing(spec.tracing(i), (at / "tracing")[i]);
  for (int i = 0; i < spec.metrics_size(); ++i) CheckMetrics(spec.metrics(i), (at / "metrics")[i]);
  for (int i = 0; i < spec.access_logging_size(); ++i)
    CheckProviders(spec.access_logging(i).providers(), (at / "accessLogging")[i] / "providers");
}

void CheckSpec(const Meta&, const istio::networking::v1::ProxyConfig& spec, const At& at) {
  CheckPolicySelector(spec.has_selector() ? &spec.selector().match_labels() : nullptr,
                      at / "selector");
  if (spec.has_concurrency() && spec.concurrency().value() < 0)
    (at / "concurrency").Error("is below 0");
}

void CheckSpec(const Meta&, const WasmPlugin& spec, const At& at) {
  CheckAttachment(spec, at);
  CheckUrl(spec.url(), at / "url");
  if (!spec.sha256().empty() &&
      (spec.sha256().size() != 64 ||
       spec.sha256().find_first_not_of("0123456789abcdef") != std::string::npos))
    (at / "sha256").Error("is not 64 lower-case hexadecimal digits");
  if (spec.image_pull_secret().size() > 253)
    (at / "imagePullSecret").Error("is longer than 253 characters");
  if (spec.plugin_name().size() > 256) (at / "pluginName").Error("is longer than 256 characters");
  CheckEnvironment(spec.vm_config(), at / "vmConfig.env");
  for (int i = 0; i < spec.match_size(); ++i)
    for (int j = 0; j < spec.match(i).ports_size(); ++j)
      CheckPortNumber(spec.match(i).ports(j).number(), ((at / "match")[i] / "ports")[j] / "number");
}

}  // namespace isthmus::config::rules
