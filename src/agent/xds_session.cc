#include "agent/xds_session.h"

#include <utility>

#include "base/log.h"

namespace isthmus::agent {
namespace {

using base::Code;

constexpr std::string_view kEnvoyTypes = "type.googleapis.com/envoy.";

std::string MethodOf(XdsForm form) {
  return std::string("/envoy.service.discovery.v3.AggregatedDiscoveryService/") +
         (form == XdsForm::kDelta ? "DeltaAggregatedResources" : "StreamAggregatedResources");
}

}  // namespace

XdsSession::XdsSession(XdsContext& context, XdsForm form,
                       std::shared_ptr<rpc::ServerCall> downstream)
    : context_(context),
      form_(form),
      method_(MethodOf(form)),
      downstream_(std::move(downstream)),
      probe_backoff_({.initial = std::chrono::milliseconds(500),
                      .max = std::chrono::seconds(10),
                      .random = nullptr}) {}

void XdsSession::Start() {
  auto self = shared_from_this();
  downstream_->OnMessage([self](std::string_view message) { self->OnRequest(message); },
                         [self] { self->End(base::Status()); });
  downstream_->OnClose(
      [self] { self->End(base::Error(Code::kCancelled, "Envoy has ended the stream")); });
}

void XdsSession::End(const base::Status& status) {
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  patience_.Cancel();
  probe_timer_.Cancel();
  probe_.reset();
  upstream_.reset();
  waiting_.clear();
  if (context_.store != nullptr) context_.store->DropStaged();
  // The call lets go of its callbacks, and so of us, when it is closed.
  const std::shared_ptr<rpc::ServerCall> downstream = std::move(downstream_);
  if (downstream != nullptr) downstream->Finish(status);
}

void XdsSession::OpenUpstream() {
  patience_ =
      base::Timer::After(context_.loop, context_.options.patience, [weak = weak_from_this()] {
        auto self = weak.lock();
        if (self == nullptr || self->state_ != State::kConnecting || !self->CanServeFromDisk())
          return;
        self->context_.control_plane.Failed();
        self->ServeFromDisk(base::Error(Code::kDeadlineExceeded, "no answer"));
      });
  const base::Result<http::Client*> client = context_.control_plane.client();
  if (!client.ok()) {
    // Posted, since OnRequest() does not expect to be ended from inside.
    context_.loop.Post([weak = weak_from_this(), status = client.status()] {
      if (auto self = weak.lock()) self->OnUpstreamEnd(status);
    });
    return;
  }
  std::weak_ptr<XdsSession> weak = weak_from_this();
  rpc::ClientCallEvents events;
  events.message = [weak](std::string_view message) {
    if (auto self = weak.lock()) self->OnResponse(message);
  };
  events.close = [weak](base::Status status) {
    if (auto self = weak.lock()) self->OnUpstreamEnd(status);
  };
  upstream_ =
      rpc::StartCall(**client, method_, context_.control_plane.metadata(), std::move(events));
}

void XdsSession::SendUpstream(std::string message) {
  if (upstream_ != nullptr) upstream_->Send({base::Slice(std::move(message))});
}

void XdsSession::OnRequest(std::string_view message) {
  const base::Result<XdsRequest> request = ParseXdsRequest(form_, message);
  if (!request.ok()) return End(request.status());
  context_.metrics.AddCounter("istio_agent_xds_proxy_requests", "Requests of Envoy.").Add();
  if (state_ == State::kFromDisk) {
    const std::string answer =
        AnswerFromStore(*context_.store, message, fmt::format("disk-{}", ++nonce_));
    if (!answer.empty()) downstream_->Send({base::Slice::Copy(answer)});
    return;
  }
  if (!request->had.empty()) fresh_ = false;
  if (state_ == State::kConnecting) {
    waiting_.emplace_back(message);
    // Not earlier: only the first request says whether Envoy has anything, which decides what is
    // done when no control plane answers, and carries the node that is asked with later.
    if (waiting_.size() == 1) OpenUpstream();
  }
  Forward(message, *request);
}

void XdsSession::Forward(std::string_view message, const XdsRequest& request) {
  if (context_.store != nullptr && form_ == XdsForm::kDelta && !request.nonce.empty()) {
    if (request.rejected)
      context_.store->Drop(request.type_url, request.nonce);
    else
      context_.store->Commit(request.type_url, request.nonce);
  }
  if (request.rejected)
    LOG_WARN("xdsproxy", "Envoy rejected {}: {}", request.type_url, request.error);
  const bool listeners = request.type_url == kListenerType;
  SendUpstream(std::string(message));
  // Behind the first request, which carries the node.
  if (context_.on_mesh_trust != nullptr && !std::exchange(asked_trust_, true))
    SendUpstream(MakeXdsRequest(form_, kMeshTrustType, "", "", ""));
  if (listeners && context_.options.name_table && !asked_names_) {
    asked_names_ = true;
    SendUpstream(MakeXdsRequest(form_, kNameTableType, "", "", ""));
  }
}

void XdsSession::OnResponse(std::string_view message) {
  if (state_ == State::kOver || state_ == State::kFromDisk) return;
  if (state_ == State::kConnecting) {
    state_ = State::kForwarding;
    patience_.Cancel();
    waiting_.clear();
    waiting_.shrink_to_fit();
    context_.control_plane.Worked();
    LOG_INFO("xdsproxy", "connected to {}upstream XDS server {}",
             form_ == XdsForm::kDelta ? "delta " : "", context_.control_plane.address());
  }
  context_.metrics.AddCounter("istio_agent_xds_proxy_responses", "Responses of the control plane.")
      .Add();
  const base::Result<XdsResponse> head = ParseXdsResponseHead(form_, message);
  if (!head.ok()) return End(head.status());
  if (head->type_url == kNameTableType) return OnNameTable(message);
  if (head->type_url == kMeshTrustType) return OnMeshTrust(message);
  if (!head->type_url.starts_with(kEnvoyTypes)) return;
  if (context_.store != nullptr && form_ == XdsForm::kDelta) {
    if (base::Result<XdsResponse> whole = ParseXdsResponse(form_, message); whole.ok())
      context_.store->Stage(*whole);
  }
  downstream_->Send({base::Slice::Copy(message)});
}

void XdsSession::OnNameTable(std::string_view message) {
  const base::Result<XdsResponse> response = ParseXdsResponse(form_, message);
  if (!response.ok()) return End(response.status());
  if (response->resources.empty()) return;
  base::Result<NameTable> table = NameTable::Parse(AnyValue(response->resources.front().any));
  SendUpstream(MakeXdsRequest(form_, kNameTableType, response->nonce, "",
                              table.ok() ? "" : table.status().message()));
  if (!table.ok()) {
    LOG_WARN("dns", "name table not taken: {}", table.status().message());
    return;
  }
  context_.name_table = std::make_shared<const NameTable>(std::move(*table));
  Keep(*response);
}

void XdsSession::OnMeshTrust(std::string_view message) {
  const base::Result<XdsResponse> response = ParseXdsResponse(form_, message);
  if (!response.ok()) return End(response.status());
  base::Result<MeshTrust> trust = MeshTrust();
  // There is one resource or none.
  if (!response->resources.empty())
    trust = MeshTrust::Parse(AnyValue(response->resources.front().any));
  SendUpstream(MakeXdsRequest(form_, kMeshTrustType, response->nonce, "",
                              trust.ok() ? "" : trust.status().message()));
  if (!trust.ok()) {
    LOG_WARN("xdsproxy", "the mesh's further roots are not taken: {}", trust.status().message());
    return;
  }
  if (context_.on_mesh_trust) context_.on_mesh_trust(std::move(*trust));
  Keep(*response);
}

void XdsSession::Keep(const XdsResponse& response) {
  if (context_.store == nullptr || form_ != XdsForm::kDelta) return;
  context_.store->Stage(response);
  context_.store->Commit(response.type_url, response.nonce);
}

void XdsSession::OnUpstreamEnd(const base::Status& status) {
  upstream_.reset();
  if (state_ == State::kOver || state_ == State::kFromDisk) return;
  if (state_ == State::kForwarding) {
    context_.metrics
        .AddCounter(
            "istio_agent_istiod_connection_terminations", "Ended streams to the control plane.",
            {{"type", status.ok() || status.code() == Code::kCancelled ? "cancelled" : "error"}})
        .Add();
    LOG_INFO("xdsproxy", "upstream {} terminated: {}", context_.control_plane.address(),
             status.ok() ? "by the server" : status.message());
    if (!status.ok()) context_.control_plane.Failed();
    return End(base::Error(Code::kUnavailable, "the control plane has ended the stream"));
  }
  context_.metrics
      .AddCounter("istio_agent_istiod_connection_failures",
                  "Control planes that could not be reached.")
      .Add();
  const std::string address = context_.control_plane.address();
  context_.control_plane.Failed();
  if (CanServeFromDisk()) return ServeFromDisk(status);
  LOG_WARN("xdsproxy", "control plane {} does not answer: {}", address, status.message());
  End(base::Error(Code::kUnavailable, "control plane {}: {}", address, status.message()));
}

bool XdsSession::CanServeFromDisk() const {
  return form_ == XdsForm::kDelta && fresh_ && context_.store != nullptr &&
         !context_.store->Names(kListenerType).empty();
}

void XdsSession::ServeFromDisk(const base::Status& why) {
  LOG_WARN("xdsproxy",
           "no control plane answers ({}): Envoy gets the last configuration that it accepted",
           why.message());
  state_ = State::kFromDisk;
  patience_.Cancel();
  upstream_.reset();
  context_.store->DropStaged();
  for (const std::string& request : waiting_) {
    const std::string answer =
        AnswerFromStore(*context_.store, request, fmt::format("disk-{}", ++nonce_));
    if (!answer.empty()) downstream_->Send({base::Slice::Copy(answer)});
  }
  // The first one carries the node, with which control planes are asked whether they are back.
  if (waiting_.size() > 1) waiting_.resize(1);
  ScheduleProbe();
}

void XdsSession::ScheduleProbe() {
  probe_timer_ =
      base::Timer::After(context_.loop, probe_backoff_.Next(), [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->Probe();
      });
}

void XdsSession::Probe() {
  if (state_ != State::kFromDisk) return;
  const base::Result<http::Client*> client = context_.control_plane.client();
  if (!client.ok()) {
    context_.control_plane.Failed();
    return ScheduleProbe();
  }
  std::weak_ptr<XdsSession> weak = weak_from_this();
  rpc::ClientCallEvents events;
  events.message = [weak](std::string_view) {
    auto self = weak.lock();
    if (self == nullptr || self->state_ != State::kFromDisk) return;
    LOG_INFO("xdsproxy", "control plane {} answers again", self->context_.control_plane.address());
    self->context_.control_plane.Worked();
    // Envoy comes again at once and says what it has; the control plane sends what differs.
    self->context_.loop.Post([weak] {
      if (auto self = weak.lock())
        self->End(base::Error(Code::kUnavailable, "the control plane is back"));
    });
  };
  events.close = [weak](base::Status) {
    auto self = weak.lock();
    if (self == nullptr || self->state_ != State::kFromDisk) return;
    self->context_.control_plane.Failed();
    self->ScheduleProbe();
  };
  probe_ = rpc::StartCall(**client, method_, context_.control_plane.metadata(), std::move(events));
  probe_->Send({base::Slice::Copy(waiting_.front())});
  // A server that takes the call and says nothing counts as down.
  probe_timer_ = base::Timer::After(context_.loop, context_.options.patience, [weak] {
    auto self = weak.lock();
    if (self == nullptr || self->state_ != State::kFromDisk) return;
    self->probe_.reset();
    self->context_.control_plane.Failed();
    self->ScheduleProbe();
  });
}

}  // namespace isthmus::agent
