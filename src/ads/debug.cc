#include "ads/debug.h"

#include <envoy/admin/v3/config_dump.pb.h>
#include <envoy/admin/v3/config_dump_shared.pb.h>
#include <envoy/config/endpoint/v3/endpoint.pb.h>
#include <envoy/service/status/v3/csds.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <utility>

#include "ads/type_url.h"
#include "base/strings.h"

namespace isthmus::ads {
namespace {

using base::Code;
using base::Error;
using base::Slice;
using google::protobuf::Any;
using google::protobuf::Message;
namespace admin = envoy::admin::v3;
namespace status = envoy::service::status::v3;

// istioctl looks for these very words.
constexpr std::string_view kNotConnected =
    "Proxy not connected to this Pilot instance. It may be connected to another instance.";

Slice Pack(const Message& message) {
  Any any;
  any.PackFrom(message);
  return Slice(any.SerializeAsString());
}

google::protobuf::Timestamp Stamp(base::Time time) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
      std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

status::ConfigStatus ToProto(SyncState state) {
  switch (state) {
    case SyncState::kNotSent:
      return status::NOT_SENT;
    case SyncState::kSynced:
      return status::SYNCED;
    case SyncState::kStale:
      return status::STALE;
    case SyncState::kError:
      return status::ERROR;
  }
  return status::UNKNOWN;
}

status::ClientConfig Describe(const Stream& stream) {
  status::ClientConfig config;
  const model::Proxy& proxy = stream.node().proxy;
  config.mutable_node()->set_id(proxy.id);
  auto& metadata = *config.mutable_node()->mutable_metadata()->mutable_fields();
  metadata["CLUSTER_ID"].set_string_value(proxy.cluster.text());
  metadata["NAMESPACE"].set_string_value(proxy.ns);
  metadata["ISTIO_VERSION"].set_string_value(proxy.version);
  std::vector<const Subscription*> all;
  for (const auto& subscription : stream.subscriptions()) all.push_back(subscription.get());
  std::ranges::sort(all, {}, [](const Subscription* each) { return each->type_url(); });
  for (const Subscription* subscription : all) {
    auto* entry = config.add_generic_xds_configs();
    entry->set_type_url(std::string(subscription->type_url()));
    const SyncState state = StateOf(*subscription);
    entry->set_config_status(ToProto(state));
    if (state == SyncState::kError)
      entry->mutable_error_state()->set_details(subscription->error());
    if (state != SyncState::kNotSent)
      *entry->mutable_last_updated() = Stamp(subscription->last_sent());
  }
  return config;
}

// The resources of a type that the stream would have of the view.
std::vector<ResourcePtr> Seen(const Stream& stream, const model::View& view,
                              std::string_view type_url) {
  std::vector<ResourcePtr> seen;
  auto sets = view.types.find(type_url);
  if (sets == view.types.end()) return seen;
  const Subscription* subscription = nullptr;
  for (const auto& each : stream.subscriptions())
    if (each->type_url() == type_url) subscription = each.get();
  if (subscription == nullptr) return seen;
  for (const SetPtr& set : sets->second) {
    if (set == nullptr) continue;
    for (const ResourcePtr& resource : set->all())
      if (subscription->interest().Wants(resource->name) &&
          FindIn(sets->second, resource->name) == resource)
        seen.push_back(resource);
  }
  return seen;
}

Any ToAny(const model::Resource& resource) {
  Any any;
  any.ParseFromArray(resource.any.data(), static_cast<int>(resource.any.size()));
  return any;
}

base::Result<std::string> ToJson(const Message& message) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  const auto printed = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!printed.ok())
    return Error(Code::kInternal, "printing as JSON: {}", std::string(printed.message()));
  return json;
}

// The proxy that a page is about; empty when it is not plain to see, so that nobody is let in by
// another reading of the same text.
std::string ProxyOf(std::string_view path_and_query) {
  std::string found;
  for (std::string_view part : base::Split(base::Cut(path_and_query, "?").second, '&')) {
    if (!base::ConsumePrefix(part, "proxyID=")) continue;
    if (!found.empty() || part.find_first_of("%+") != part.npos) return "";
    found = part;
  }
  return found;
}

}  // namespace

SyncState StateOf(const Subscription& subscription) {
  if (subscription.nonce_sent().empty()) return SyncState::kNotSent;
  if (!subscription.error().empty()) return SyncState::kError;
  return subscription.nonce_sent() == subscription.nonce_acked() ? SyncState::kSynced
                                                                 : SyncState::kStale;
}

Debug::Debug(Server& server, ViewSource& views, std::string system_namespace, DebugPages pages)
    : server_(server),
      views_(views),
      system_namespace_(std::move(system_namespace)),
      pages_(std::move(pages)) {}

base::Status Debug::Allow(const Request& request, const Stream& caller) const {
  if (caller.local() || caller.verified_ns() == system_namespace_) return {};
  if (caller.verified_ns().empty())
    return Error(Code::kUnauthenticated,
                 "debug information is only for callers with a verified identity");
  const std::string_view name = request.names.empty() ? std::string_view() : request.names.front();
  std::string proxy(name);
  bool open = request.type_url == kDebugDumpType;
  if (request.type_url == kDebugType) {
    const std::string_view page = name.substr(0, name.find('?'));
    open = page == "config_dump" || page == "ndsz" || page == "edsz";
    proxy = ProxyOf(name);
  }
  const size_t dot = proxy.rfind('.');
  if (open && dot != std::string::npos && proxy.substr(dot + 1) == caller.verified_ns()) return {};
  return Error(Code::kPermissionDenied,
               "callers of namespace {} may only see config_dump, ndsz and edsz of proxies of that "
               "namespace",
               caller.verified_ns());
}

base::Result<std::vector<Slice>> Debug::Answer(const Request& request, const Stream& caller) {
  RETURN_IF_ERROR(Allow(request, caller), "debug");
  if (request.type_url == kDebugSyncType) return SyncStatus();
  if (request.names.empty())
    return Error(Code::kInvalidArgument, "{} needs a resource name that says what to show",
                 request.type_url);
  const std::string_view name = request.names.front();
  if (request.type_url == kDebugDumpType) {
    const Stream* proxy = server_.FindProxy(name);
    return proxy == nullptr ? std::vector<Slice>() : ConfigDump(*proxy);
  }
  if (request.type_url != kDebugType || !pages_)
    return Error(Code::kUnimplemented, "unknown debug type {}", request.type_url);
  const auto page = pages_(name);
  Any any;
  any.set_type_url(std::string(kDebugType));
  any.set_value(page.ok() ? *page : page.status().message());
  return std::vector<Slice>{Slice(any.SerializeAsString())};
}

std::vector<Slice> Debug::SyncStatus() const {
  std::vector<Slice> all;
  for (const Connection& connection : server_.connections())
    if (connection.stream->node().is_proxy && !connection.stream->subscriptions().empty())
      all.push_back(Pack(Describe(*connection.stream)));
  return all;
}

std::vector<Slice> Debug::ConfigDump(const Stream& proxy) const {
  const auto view = views_.ViewFor(proxy.node().proxy);
  if (view == nullptr) return {};
  const std::string& version = server_.version();
  admin::ClustersConfigDump clusters;
  clusters.set_version_info(version);
  for (const ResourcePtr& each : Seen(proxy, *view, kClusterType))
    *clusters.add_dynamic_active_clusters()->mutable_cluster() = ToAny(*each);
  admin::ListenersConfigDump listeners;
  listeners.set_version_info(version);
  for (const ResourcePtr& each : Seen(proxy, *view, kListenerType)) {
    auto* listener = listeners.add_dynamic_listeners();
    listener->set_name(each->name);
    listener->mutable_active_state()->set_version_info(version);
    *listener->mutable_active_state()->mutable_listener() = ToAny(*each);
  }
  admin::RoutesConfigDump routes;
  for (const ResourcePtr& each : Seen(proxy, *view, kRouteType)) {
    auto* route = routes.add_dynamic_route_configs();
    route->set_version_info(version);
    *route->mutable_route_config() = ToAny(*each);
  }
  // Names only: keys do not leave by this way.
  admin::SecretsConfigDump secrets;
  for (const ResourcePtr& each : Seen(proxy, *view, kSecretType))
    secrets.add_dynamic_active_secrets()->set_name(each->name);
  admin::EcdsConfigDump extensions;
  for (const ResourcePtr& each : Seen(proxy, *view, kExtensionType))
    *extensions.add_ecds_filters()->mutable_ecds_filter() = ToAny(*each);
  return {Pack(admin::BootstrapConfigDump()),
          Pack(clusters),
          Pack(listeners),
          Pack(admin::ScopedRoutesConfigDump()),
          Pack(routes),
          Pack(secrets),
          Pack(extensions)};
}

base::Result<const Stream*> Debug::Connected(std::string_view proxy_id) const {
  if (proxy_id.empty())
    return Error(Code::kInvalidArgument, "say which proxy: ?proxyID=<pod>.<namespace>");
  const Stream* proxy = server_.FindProxy(proxy_id);
  if (proxy == nullptr) return base::Status(Code::kNotFound, std::string(kNotConnected));
  return proxy;
}

base::Result<std::string> Debug::ConfigDumpJson(std::string_view proxy_id) const {
  ASSIGN_OR_RETURN(const Stream* proxy, Connected(proxy_id), "config_dump");
  admin::ConfigDump dump;
  for (const Slice& any : ConfigDump(*proxy))
    dump.add_configs()->ParseFromArray(any.data(), static_cast<int>(any.size()));
  return ToJson(dump);
}

base::Result<std::string> Debug::EndpointsJson(std::string_view proxy_id) const {
  ASSIGN_OR_RETURN(const Stream* proxy, Connected(proxy_id), "edsz");
  const auto view = views_.ViewFor(proxy->node().proxy);
  if (view == nullptr) return std::string("[]");
  std::string out = "[";
  for (const ResourcePtr& each : Seen(*proxy, *view, kEndpointType)) {
    envoy::config::endpoint::v3::ClusterLoadAssignment assignment;
    if (!ToAny(*each).UnpackTo(&assignment)) continue;
    ASSIGN_OR_RETURN(const std::string json, ToJson(assignment), each->name);
    if (out.size() > 1) out += ",\n";
    out += json;
  }
  return out + "]";
}

base::Result<std::string> Debug::NameTableJson(std::string_view proxy_id) const {
  ASSIGN_OR_RETURN(const Stream* proxy, Connected(proxy_id), "ndsz");
  const auto view = views_.ViewFor(proxy->node().proxy);
  if (view == nullptr) return std::string("{}");
  const auto tables = Seen(*proxy, *view, kNameTableType);
  if (tables.empty()) return std::string("{}");
  return ToJson(ToAny(*tables.front()));
}

}  // namespace isthmus::ads
