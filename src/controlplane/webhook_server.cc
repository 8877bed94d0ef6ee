#include "controlplane/webhook_server.h"

#include "base/strings.h"

namespace isthmus::controlplane {
namespace {

bool IsPath(const std::string& path, std::string_view root) {
  return path == root || base::HasPrefix(path, std::string(root) + "/");
}

}  // namespace

WebhookServer::WebhookServer(std::function<const inject::InjectorConfig*()> injector,
                             std::function<MeshPtr()> mesh, bool native_sidecars, bool inject,
                             bool validate)
    : injector_(std::move(injector)),
      mesh_(std::move(mesh)),
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
    inject::HttpAnswer answer = Answer(stream->head(), body);
    stream->Respond(answer.status, answer.content_type, std::move(answer.body));
  });
}

inject::HttpAnswer WebhookServer::Answer(const http::RequestHead& head, const std::string& body) {
  const std::string type(head.headers.Get("content-type").value_or(""));
  if (IsPath(head.path(), "/validate")) return inject::AnswerValidation(type, body, validation_);
  const inject::InjectorConfig* config = injector_();
  const MeshPtr mesh = mesh_();
  if (config == nullptr || mesh == nullptr)
    return {503, "text/plain; charset=utf-8",
            "the injector has no configuration yet: ConfigMap istio-sidecar-injector is missing\n"};
  return inject::AnswerInjection(head.target, type, body, *config,
                                 inject::MeshSettings::From(*mesh), native_sidecars_, injection_);
}

}  // namespace isthmus::controlplane
