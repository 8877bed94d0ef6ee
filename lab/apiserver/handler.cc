#include "lab/apiserver/handler.h"

#include <algorithm>

#include "base/strings.h"
#include "kubeapi/meta.h"
#include "lab/apiserver/allocator.h"
#include "lab/apiserver/authorizer.h"
#include "lab/apiserver/crd.h"
#include "lab/apiserver/discovery.h"
#include "lab/apiserver/openapi.h"
#include "lab/apiserver/protobuf.h"
#include "lab/apiserver/reader.h"
#include "lab/apiserver/reviews.h"
#include "lab/apiserver/subresources.h"
#include "lab/apiserver/tokens.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;

ApiError NoSuchPath() {
  ApiError error;
  error.code = 404;
  error.reason = "NotFound";
  error.message = "the server could not find the requested resource";
  return error;
}

ApiError WrongMethod() {
  ApiError error;
  error.code = 405;
  error.reason = "MethodNotAllowed";
  error.message = "the server does not allow this method on the requested resource";
  return error;
}

Response PlainResponse(int status, std::string text) {
  Response response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(text);
  return response;
}

}  // namespace

base::Result<std::unique_ptr<Handler>> Handler::Create(Store& store, const base::Clock& clock,
                                                       HandlerOptions options) {
  auto allocator =
      Allocator::Create(store, options.service_cidr, options.node_port_min, options.node_port_max);
  if (!allocator.ok()) return allocator.status();
  std::unique_ptr<Handler> handler(new Handler(store, clock, std::move(options)));
  handler->engine_->allocator = std::move(*allocator);
  return handler;
}

Handler::Handler(Store& store, const base::Clock& clock, HandlerOptions options)
    : options_(std::move(options)) {
  engine_ = std::unique_ptr<Engine>(new Engine{store, clock});
  engine_->git_version = options_.git_version;
  engine_->authorizer = std::make_unique<Authorizer>(store);
  writer_ = std::make_unique<Writer>(*engine_);
  crds_ = std::make_unique<CrdRegistry>(*engine_);
  openapi_ = std::make_unique<OpenApi>(*engine_);
}

Handler::~Handler() = default;

bool Handler::IsConnect(const RequestInfo& info) {
  if (!info.resource_request || !info.group.empty()) return false;
  if (info.resource == "pods")
    return info.subresource == "exec" || info.subresource == "attach" ||
           info.subresource == "log" || info.subresource == "portforward" ||
           info.subresource == "proxy";
  return (info.resource == "services" || info.resource == "nodes") && info.subresource == "proxy";
}

std::optional<ApiError> Handler::Authorize(const User& user, const RequestInfo& info) {
  if (!options_.authorize || engine_->authorizer->Allows(user, info)) return std::nullopt;
  return ForbiddenFor(user, info);
}

std::optional<ApiError> Handler::Impersonate(Request* request) {
  const std::string name = request->Header("impersonate-user");
  User user;
  user.groups.clear();
  for (const auto& [key, value] : request->headers) {
    if (key == "impersonate-group") user.groups.push_back(value);
    if (key.starts_with("impersonate-extra-")) user.extra[key.substr(18)].push_back(value);
    if (key == "impersonate-uid") user.uid = value;
  }
  if (name.empty()) {
    if (user.groups.empty() && user.extra.empty() && user.uid.empty()) return std::nullopt;
    return kubeapi::BadRequest("requested impersonation without impersonating a user");
  }
  user.name = name;
  auto check = [&](const std::string& resource,
                   const std::string& what) -> std::optional<ApiError> {
    RequestInfo info;
    info.resource_request = true;
    info.verb = "impersonate";
    info.resource = resource;
    info.name = what;
    const auto parts = base::Split(what, ':');
    if (resource == "users" && parts.size() == 4 && parts[0] == "system" &&
        parts[1] == "serviceaccount") {
      info.resource = "serviceaccounts";
      info.ns = std::string(parts[2]);
      info.name = std::string(parts[3]);
    }
    return Authorize(request->user, info);
  };
  if (auto error = check("users", name)) return error;
  for (const std::string& group : user.groups)
    if (auto error = check("groups", group)) return error;
  const auto parts = base::Split(name, ':');
  if (user.groups.empty() && parts.size() == 4 && parts[0] == "system" &&
      parts[1] == "serviceaccount")
    user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + std::string(parts[2])};
  const bool anonymous = name == "system:anonymous";
  const char* everyone = anonymous ? "system:unauthenticated" : "system:authenticated";
  if (!user.InGroup(everyone)) user.groups.push_back(everyone);
  request->user = std::move(user);
  return std::nullopt;
}

void Handler::Handle(const Request& request, std::function<void(Response)> done) {
  const RequestInfo info = RequestInfo::Of(request);
  if (!request.body.empty() &&
      request.Header("content-type").starts_with("application/vnd.kubernetes.protobuf")) {
    auto decoded = DecodeProtobuf(request.body);
    if (!decoded.ok())
      return done(ErrorResponse(
          decoded.status().code() == base::Code::kUnimplemented
              ? kubeapi::UnsupportedMediaType(decoded.status().message())
              : kubeapi::BadRequest("couldn't decode the body: " + decoded.status().message())));
    Request plain = request;
    plain.body = kubeapi::ToJson(*decoded);
    for (auto& [name, value] : plain.headers)
      if (name == "content-type") value = "application/json";
    return Handle(plain, std::move(done));
  }
  if (auto error = Authorize(request.user, info)) return done(ErrorResponse(*error));
  if (info.resource_request) return HandleResource(request, info, std::move(done));
  if (request.method != "GET" && request.method != "HEAD") return done(ErrorResponse(NoSuchPath()));
  auto response = HandlePath(request);
  if (!response && base::Split(request.path, '/').size() == 3 && request.path.starts_with("/apis/"))
    response = PlainResponse(404, "404 page not found\n");
  done(response ? std::move(*response) : ErrorResponse(NoSuchPath()));
}

std::optional<Response> Handler::HandlePath(const Request& request) {
  const std::string& path = request.path;
  if (path == "/version" || path == "/version/") {
    const auto parts = base::Split(std::string_view(options_.git_version).substr(1), '.');
    return JsonResponse(200, {{"major", parts[0]},
                              {"minor", parts.size() > 1 ? parts[1] : "0"},
                              {"gitVersion", options_.git_version},
                              {"gitCommit", ""},
                              {"gitTreeState", "clean"},
                              {"buildDate", "1970-01-01T00:00:00Z"},
                              {"goVersion", ""},
                              {"compiler", "gcc"},
                              {"platform", "linux/amd64"}});
  }
  for (const char* health : {"/healthz", "/livez", "/readyz"}) {
    if (path != health && path != std::string(health) + "/") continue;
    if (!request.HasQuery("verbose")) return PlainResponse(200, "ok");
    return PlainResponse(200,
                         fmt::format("[+]ping ok\n[+]store ok\n{} check passed\n", health + 1));
  }
  if (path.starts_with("/healthz/") || path.starts_with("/livez/") || path.starts_with("/readyz/"))
    return PlainResponse(200, "ok");
  if (path == "/.well-known/openid-configuration" && engine_->tokens)
    return JsonResponse(200, {{"issuer", engine_->tokens->issuer()},
                              {"jwks_uri", engine_->tokens->issuer() + "/openid/v1/jwks"},
                              {"response_types_supported", {"id_token"}},
                              {"subject_types_supported", {"public"}},
                              {"id_token_signing_alg_values_supported", {"RS256"}}});
  if (path == "/openid/v1/jwks" && engine_->tokens) {
    Response response = JsonResponse(200, engine_->tokens->Keys());
    response.content_type = "application/jwk-set+json";
    return response;
  }
  if (path == "/")
    return JsonResponse(200, {{"paths",
                               {"/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2",
                                "/openapi/v3", "/readyz", "/version"}}});
  if (path.starts_with("/openapi/")) return openapi_->Serve(request);
  return Discover(*engine_, request);
}

void Handler::HandleResource(const Request& request, const RequestInfo& info,
                             std::function<void(Response)> done) {
  // "/apis/apps/v1" has too few parts to be a resource, but "/api/v1/" style slashes are cut
  // before.
  KindPtr kind = engine_->kinds.Find(info.group, info.resource);
  const KindVersion* version = kind ? kind->FindVersion(info.version) : nullptr;
  if (!version) {
    // Of a group that is not served nobody answers but the server's root.
    if (!engine_->kinds.Serves(info.group, info.version))
      return done(PlainResponse(404, "404 page not found\n"));
    return done(ErrorResponse(NoSuchPath()));
  }
  if (!kind->namespaced && !info.ns.empty() && !(info.resource == "namespaces"))
    return done(ErrorResponse(NoSuchPath()));
  if (kind->review) {
    if (request.method != "POST") return done(ErrorResponse(WrongMethod()));
    if (info.resource == "bindings") return done(BindPod(*engine_, *writer_, request, info));
    return done(AnswerReview(*engine_, request, info, *kind, *version));
  }
  if (!info.subresource.empty())
    return HandleSubresource(request, info, kind, *version, std::move(done));
  Reader reader(*engine_);
  if (info.verb == "get") return done(reader.Get(request, info, kind, *version));
  if (info.verb == "list") return done(reader.List(request, info, kind, *version));
  if (info.verb == "watch") return done(reader.StartWatch(request, info, kind, *version));
  if (info.verb == "create" && info.name.empty()) {
    if (kind->namespaced && info.ns.empty()) return done(ErrorResponse(WrongMethod()));
    return writer_->Create(request, info, kind, *version, std::move(done));
  }
  if (info.verb == "update" && !info.name.empty())
    return writer_->Update(request, info, kind, *version, std::move(done));
  if (info.verb == "patch" && !info.name.empty())
    return writer_->Patch(request, info, kind, *version, std::move(done));
  if (info.verb == "delete") return writer_->Delete(request, info, kind, *version, std::move(done));
  if (info.verb == "deletecollection" && (!kind->namespaced || !info.ns.empty()))
    return writer_->DeleteCollection(request, info, kind, *version, std::move(done));
  done(ErrorResponse(WrongMethod()));
}

void Handler::HandleSubresource(const Request& request, const RequestInfo& info,
                                const KindPtr& kind, const KindVersion& version,
                                std::function<void(Response)> done) {
  const auto known = SubresourcesOf(*kind, version);
  if (std::find(known.begin(), known.end(), info.subresource) == known.end())
    return done(ErrorResponse(NoSuchPath()));
  const bool post = request.method == "POST";
  if (info.subresource == "scale") {
    if (info.verb == "get") return done(ReadScale(*engine_, request, info, *kind, version));
    if (info.verb == "update" || info.verb == "patch")
      return WriteScale(*engine_, *writer_, request, info, kind, version, done);
    return done(ErrorResponse(WrongMethod()));
  }
  if (info.subresource == "binding" && post)
    return done(BindPod(*engine_, *writer_, request, info));
  if (info.subresource == "eviction" && post)
    return done(EvictPod(*engine_, *writer_, request, info));
  if (info.subresource == "token" && post) return done(RequestToken(*engine_, request, info));
  if (IsConnect(info))
    return done(ErrorResponse(kubeapi::ServiceUnavailable("there is no node to ask")));
  if (info.verb == "get") return done(Reader(*engine_).Get(request, info, kind, version));
  if (info.verb == "update") return writer_->Update(request, info, kind, version, std::move(done));
  if (info.verb == "patch") return writer_->Patch(request, info, kind, version, std::move(done));
  done(ErrorResponse(WrongMethod()));
}

void Handler::Bootstrap(const std::string& address, int port) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"})
    writer_->Seed({{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}});
  for (const Json& object : DefaultPolicy()) writer_->Seed(object);
  for (const auto& [name, value] : {std::pair("system-cluster-critical", 2000000000),
                                    std::pair("system-node-critical", 2000001000)})
    writer_->Seed({{"apiVersion", "scheduling.k8s.io/v1"},
                   {"kind", "PriorityClass"},
                   {"metadata", {{"name", name}}},
                   {"value", value}});
  const std::string ip = engine_->allocator->FirstAddress();
  writer_->Seed(
      {{"apiVersion", "v1"},
       {"kind", "Service"},
       {"metadata",
        {{"name", "kubernetes"},
         {"namespace", "default"},
         {"labels", {{"component", "apiserver"}, {"provider", "kubernetes"}}}}},
       {"spec",
        {{"clusterIP", ip},
         {"clusterIPs", {ip}},
         {"ipFamilies", {"IPv4"}},
         {"ipFamilyPolicy", "SingleStack"},
         {"type", "ClusterIP"},
         {"ports",
          Json::array(
              {{{"name", "https"}, {"port", 443}, {"protocol", "TCP"}, {"targetPort", port}}})}}}});
  // The address may be another one than at the last start.
  const Json subsets = Json::array(
      {{{"addresses", Json::array({{{"ip", address}}})},
        {"ports", Json::array({{{"name", "https"}, {"port", port}, {"protocol", "TCP"}}})}}});
  writer_->Seed({{"apiVersion", "v1"},
                 {"kind", "Endpoints"},
                 {"metadata",
                  {{"name", "kubernetes"},
                   {"namespace", "default"},
                   {"labels", {{"endpointslice.kubernetes.io/skip-mirror", "true"}}}}},
                 {"subsets", subsets}});
  (void)writer_->Change(*engine_->kinds.FindByKey("endpoints"), "default", "kubernetes", "", "",
                        false, [&](Json* object) -> std::optional<ApiError> {
                          (*object)["subsets"] = subsets;
                          return std::nullopt;
                        });
  const Json endpoints =
      Json::array({{{"addresses", {address}}, {"conditions", {{"ready", true}}}}});
  const Json ports = Json::array({{{"name", "https"}, {"port", port}, {"protocol", "TCP"}}});
  writer_->Seed({{"apiVersion", "discovery.k8s.io/v1"},
                 {"kind", "EndpointSlice"},
                 {"metadata",
                  {{"name", "kubernetes"},
                   {"namespace", "default"},
                   {"labels", {{"kubernetes.io/service-name", "kubernetes"}}}}},
                 {"addressType", "IPv4"},
                 {"endpoints", endpoints},
                 {"ports", ports}});
  (void)writer_->Change(*engine_->kinds.FindByKey("endpointslices.discovery.k8s.io"), "default",
                        "kubernetes", "", "", false, [&](Json* object) -> std::optional<ApiError> {
                          (*object)["endpoints"] = endpoints;
                          (*object)["ports"] = ports;
                          return std::nullopt;
                        });
}

}  // namespace isthmus::lab::apiserver
