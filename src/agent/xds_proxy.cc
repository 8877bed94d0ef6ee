#include "agent/xds_proxy.h"

#include <set>

#include "agent/sds_server.h"
#include "agent/xds_session.h"
#include "base/log.h"

namespace isthmus::agent {

struct XdsProxy::Impl {
  Impl(base::Loop& loop, ControlPlane& control_plane, ConfigStore* store,
       base::MetricRegistry& metrics, XdsProxyOptions options)
      : context{loop, control_plane, store, metrics, std::move(options), nullptr, nullptr},
        // Envoy tells all it has when it comes again: some hundred bytes a resource.
        router(64 << 20) {}

  XdsContext context;
  rpc::Router router;
  std::weak_ptr<XdsSession> session;
  std::unique_ptr<http::Server> server;

  /// The only resource of a type on disk, serialised; "" when there is none.
  std::string Stored(std::string_view type_url) const {
    if (context.store == nullptr) return "";
    const std::vector<std::string> names = context.store->Names(type_url);
    if (names.empty()) return "";
    const std::string whole = context.store->Read(type_url, names.front());
    const std::string message = MakeXdsResponse(XdsForm::kDelta, type_url, "", "", {whole});
    const base::Result<XdsResponse> response = ParseXdsResponse(XdsForm::kDelta, message);
    if (!response.ok() || response->resources.empty()) return "";
    return std::string(AnyValue(response->resources.front().any));
  }

  void LoadNameTable() {
    const std::string stored = context.options.name_table ? Stored(kNameTableType) : "";
    if (stored.empty()) return;
    if (base::Result<NameTable> table = NameTable::Parse(stored); table.ok())
      context.name_table = std::make_shared<const NameTable>(std::move(*table));
  }

  void Serve(XdsForm form, std::shared_ptr<rpc::ServerCall> call) {
    if (auto old = session.lock())
      old->End(base::Error(base::Code::kAborted, "a newer stream has taken the place of this one"));
    auto next = std::make_shared<XdsSession>(context, form, std::move(call));
    session = next;
    next->Start();
  }
};

XdsProxy::XdsProxy(base::Loop& loop, ControlPlane& control_plane, ConfigStore* store,
                   base::MetricRegistry& metrics, XdsProxyOptions options)
    : impl_(std::make_shared<Impl>(loop, control_plane, store, metrics, std::move(options))) {
  const auto add = [this](const char* method, XdsForm form) {
    impl_->router.Add(
        std::string("/envoy.service.discovery.v3.AggregatedDiscoveryService/") + method,
        [impl = impl_.get(), form](std::shared_ptr<rpc::ServerCall> call) {
          impl->Serve(form, std::move(call));
        });
  };
  add("StreamAggregatedResources", XdsForm::kStateOfTheWorld);
  add("DeltaAggregatedResources", XdsForm::kDelta);
  impl_->LoadNameTable();
}

XdsProxy::~XdsProxy() {
  if (auto session = impl_->session.lock())
    session->End(base::Error(base::Code::kUnavailable, "the agent ends"));
}

base::Status XdsProxy::Start() {
  ASSIGN_OR_RETURN(impl_->server,
                   ServeOnSocket(impl_->context.loop, impl_->context.options.socket_path,
                                 [impl = impl_.get()](std::shared_ptr<http::ServerStream> stream) {
                                   impl->router.Serve(std::move(stream));
                                 }),
                   "XDS proxy");
  return {};
}

void XdsProxy::OnMeshTrust(std::function<void(MeshTrust)> changed) {
  const std::string stored = impl_->Stored(kMeshTrustType);
  if (base::Result<MeshTrust> trust = MeshTrust::Parse(stored); trust.ok() && !stored.empty())
    changed(std::move(*trust));
  impl_->context.on_mesh_trust = std::move(changed);
}

std::shared_ptr<const NameTable> XdsProxy::name_table() const { return impl_->context.name_table; }

std::string AnswerFromStore(const ConfigStore& store, std::string_view message,
                            std::string_view nonce) {
  const base::Result<XdsRequest> request = ParseXdsRequest(XdsForm::kDelta, message);
  // With a nonce and no names it is only an acknowledgement.
  if (!request.ok() || (!request->nonce.empty() && request->names.empty())) return {};
  std::set<std::string, std::less<>> wanted;
  bool all = request->names.empty() && request->nonce.empty();
  for (const std::string_view name : request->names) {
    if (name == "*")
      all = true;
    else
      wanted.emplace(name);
  }
  std::vector<std::string> absent;
  std::vector<std::string> resources;
  if (all)
    for (std::string& name : store.Names(request->type_url)) wanted.insert(std::move(name));
  for (const std::string& name : wanted) {
    std::string whole = store.Read(request->type_url, name);
    if (whole.empty())
      absent.push_back(name);
    else
      resources.push_back(std::move(whole));
  }
  return MakeXdsResponse(XdsForm::kDelta, request->type_url, nonce, "disk", resources, absent);
}

}  // namespace isthmus::agent
