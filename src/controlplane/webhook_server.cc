#include "controlplane/webhook_server.h"

#include "base/strings.h"

namespace isthmus::controlplane {
namespace {

bool IsPath(const std::string& path, std::string_view root) {
  return path == root || base::HasPrefix(path, std::string(root) + "/");
}

}  // namespace

WebhookServer::WebhookServer(SourcesOf sources, bool native_sidecars, bool inject, bool validate)
    : sources_(std::move(sources)),
      native_sidecars_(native_sidecars),
      inject_(inject),
      validate_(validate) {}

bool WebhookServer::Serves(const http::RequestHead& head) const {
  const std::string path = head.path();
  return (inject_ && IsPath(path, "/inject")) || (validate_ && IsPath(path, "/validate"));
}

void WebhookServer::Serve(const std::shared_ptr<http::ServerStream>& stream) {
  const std::string path = stream->head().path();
  if (path == "/ready") return stream->Respond(200, "text/plain; charset=utf-8", "");
  if (!Serves(stream->head()))
    return stream->Respond(404, "text/plain; charset=utf-8", "404 page not found\n");
  stream->ReadBody(inject::kMaxReviewBytes, [this, stream](std::string body) {
    if (!IsPath(stream->head().path(), "/validate")) return Inject(stream, std::move(body));
    const std::string type(stream->head().headers.Get("content-type").value_or(""));
    inject::HttpAnswer answer = inject::AnswerValidation(type, body, validation_);
    stream->Respond(answer.status, answer.content_type, std::move(answer.body));
  });
}

void WebhookServer::Inject(const std::shared_ptr<http::ServerStream>& stream, std::string body) {
  const http::RequestHead& head = stream->head();
  const std::string cluster = inject::Params::FromPath(head.target).cluster;
  sources_(cluster, [this, stream, body = std::move(body)](const Sources& sources) {
    if (sources.injector == nullptr || sources.mesh == nullptr)
      return stream->Respond(503, "text/plain; charset=utf-8",
                             "the injector has no configuration yet: ConfigMap "
                             "istio-sidecar-injector is missing\n");
    const http::RequestHead& head = stream->head();
    const std::string type(head.headers.Get("content-type").value_or(""));
    inject::HttpAnswer answer = inject::AnswerInjection(head.target, type, body, *sources.injector,
                                                        inject::MeshSettings::From(*sources.mesh),
                                                        native_sidecars_, injection_);
    stream->Respond(answer.status, answer.content_type, std::move(answer.body));
  });
}

}  // namespace isthmus::controlplane
