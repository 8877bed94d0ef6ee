#include "lab/apiserver/subresources.h"

#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"
#include "kubeapi/selector.h"
#include "lab/apiserver/json_path.h"
#include "lab/apiserver/output.h"
#include "lab/apiserver/tokens.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::StringAt;

Outcome<Json> Body(const Request& request) {
  const bool yaml = request.Header("content-type").find("yaml") != std::string::npos;
  auto parsed = yaml ? kubeapi::ParseYaml(request.body) : kubeapi::ParseJson(request.body);
  if (!parsed.ok())
    return kubeapi::BadRequest("couldn't get version/kind; json parse error: " +
                               parsed.status().message());
  if (!parsed->is_object() && !parsed->is_array())
    return kubeapi::BadRequest("the body of the request is not an object");
  return std::move(*parsed);
}

int64_t NumberAt(const Json& object, const std::string& path) {
  const auto found = EvaluatePath(object, path);
  return !found.empty() && found[0]->is_number() ? found[0]->get<int64_t>() : 0;
}

Json ScaleOf(const KindVersion& version, const Json& object) {
  Json metadata = Json::object();
  for (const char* field : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (const Json* value = Find(object, {"metadata", field})) metadata[field] = *value;
  Json scale = {{"kind", "Scale"},
                {"apiVersion", "autoscaling/v1"},
                {"metadata", std::move(metadata)},
                {"spec", Json::object()},
                {"status", {{"replicas", NumberAt(object, version.scale_status)}}}};
  if (const int64_t replicas = NumberAt(object, version.scale_spec))
    scale["spec"]["replicas"] = replicas;
  const auto selector = version.scale_selector.empty()
                            ? std::vector<const Json*>()
                            : EvaluatePath(object, version.scale_selector);
  if (!selector.empty()) {
    const Json& value = *selector[0];
    if (value.is_string()) {
      scale["status"]["selector"] = value;
    } else if (value.is_object()) {
      const bool plain = !value.contains("matchLabels") && !value.contains("matchExpressions");
      auto parsed =
          plain ? base::Result<kubeapi::LabelSelector>(kubeapi::LabelSelector::FromLabels(value))
                : kubeapi::LabelSelector::FromObject(value);
      if (parsed.ok()) scale["status"]["selector"] = parsed->ToString();
    }
  }
  return scale;
}

/// Sets the number at a plain path such as ".spec.replicas".
void SetNumber(Json* object, const std::string& path, int64_t value) {
  Json* at = object;
  for (std::string_view key : base::Split(std::string_view(path).substr(1), '.'))
    at = &(*at)[std::string(key)];
  *at = value;
}

}  // namespace

Response ReadScale(const Engine& engine, const Request& request, const RequestInfo& info,
                   const Kind& kind, const KindVersion& version) {
  auto output = Output::Negotiate(request);
  if (!output.ok()) return ErrorResponse(output.error());
  auto object = engine.Get(kind, version, info.ns, info.name);
  if (!object) return ErrorResponse(kubeapi::NotFound(kind.ResourceAt(version), info.name));
  output->form = Output::Form::kObject;
  return output->Respond(200, ScaleOf(version, *object).dump());
}

void WriteScale(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info,
                const KindPtr& kind, const KindVersion& version, const Writer::Done& done) {
  auto body = Body(request);
  if (!body.ok()) return done(ErrorResponse(body.error()));
  auto object = engine.Get(*kind, version, info.ns, info.name);
  if (!object) return done(ErrorResponse(kubeapi::NotFound(kind->ResourceAt(version), info.name)));
  Json scale = ScaleOf(version, *object);
  if (request.method == "PUT") {
    scale = *body;
  } else if (body->is_array()) {
    auto patched = kubeapi::ApplyJsonPatch(scale, *body);
    if (!patched.ok()) return done(ErrorResponse(kubeapi::BadRequest(patched.status().message())));
    scale = std::move(*patched);
  } else {
    scale = kubeapi::ApplyMergePatch(scale, *body);
  }
  const int64_t replicas = IntAt(scale, {"spec", "replicas"});
  if (replicas < 0)
    return done(ErrorResponse(kubeapi::Invalid(
        {"autoscaling", "v1", "", "Scale"}, info.name,
        {{"FieldValueInvalid",
          fmt::format("Invalid value: {}: must be greater than or equal to 0", replicas),
          "spec.replicas"}})));
  const std::string asked = kubeapi::ResourceVersionOf(scale);
  if (!asked.empty() && asked != kubeapi::ResourceVersionOf(*object))
    return done(ErrorResponse(kubeapi::Conflict(kind->ResourceAt(version), info.name)));
  auto changed =
      writer.Change(*kind, info.ns, info.name, ManagerOf(request), "scale",
                    request.Query("dryRun") == "All", [&](Json* target) -> std::optional<ApiError> {
                      SetNumber(target, version.scale_spec, replicas);
                      return std::nullopt;
                    });
  if (!changed.ok()) return done(ErrorResponse(changed.error()));
  done(JsonResponse(200, ScaleOf(version, *changed)));
}

Response BindPod(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info) {
  auto body = Body(request);
  if (!body.ok()) return ErrorResponse(body.error());
  const std::string name = info.resource == "bindings" ? kubeapi::NameOf(*body) : info.name;
  const std::string node = StringAt(*body, {"target", "name"});
  const kubeapi::Resource resource{"", "v1", "pods/binding", "Binding"};
  if (node.empty())
    return ErrorResponse(kubeapi::Invalid(
        resource, name, {{"FieldValueRequired", "Required value", "target.name"}}));
  KindPtr pods = engine.kinds.FindByKey("pods");
  auto bound = writer.Change(
      *pods, info.ns, name, "", "binding", request.Query("dryRun") == "All",
      [&](Json* pod) -> std::optional<ApiError> {
        if (kubeapi::IsBeingDeleted(*pod))
          return kubeapi::Conflict(
              resource, name,
              fmt::format("pod {} is being deleted, cannot be assigned to a host", name));
        const std::string had = StringAt(*pod, {"spec", "nodeName"});
        if (!had.empty())
          return kubeapi::Conflict(
              resource, name, fmt::format("pod {} is already assigned to node \"{}\"", name, had));
        if (const std::string uid = kubeapi::UidOf(*body);
            !uid.empty() && uid != kubeapi::UidOf(*pod))
          return kubeapi::Conflict(
              resource, name,
              fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}",
                          uid, kubeapi::UidOf(*pod)));
        (*pod)["spec"]["nodeName"] = node;
        Json& conditions = (*pod)["status"]["conditions"];
        if (!conditions.is_array()) conditions = Json::array();
        for (auto it = conditions.begin(); it != conditions.end();)
          it = StringAt(*it, {"type"}) == "PodScheduled" ? conditions.erase(it) : it + 1;
        conditions.push_back({{"type", "PodScheduled"},
                              {"status", "True"},
                              {"lastProbeTime", nullptr},
                              {"lastTransitionTime", engine.NowText()}});
        return std::nullopt;
      });
  if (!bound.ok()) return ErrorResponse(bound.error());
  return JsonResponse(201, {{"kind", "Status"},
                            {"apiVersion", "v1"},
                            {"metadata", Json::object()},
                            {"status", "Success"},
                            {"code", 201}});
}

Response EvictPod(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info) {
  auto body = Body(request);
  if (!body.ok()) return ErrorResponse(body.error());
  KindPtr pods = engine.kinds.FindByKey("pods");
  auto pod = engine.Get("pods", info.ns, info.name);
  if (!pod)
    return ErrorResponse(kubeapi::NotFound(pods->ResourceAt(pods->storage_version()), info.name));
  std::optional<ApiError> refused;
  KindPtr budgets = engine.kinds.FindByKey("poddisruptionbudgets.policy");
  engine.store.List(
      "poddisruptionbudgets.policy", info.ns, std::nullopt,
      [&](const ObjectKey& key, std::string_view text) {
        const Json budget = Json::parse(text, nullptr, false);
        const Json* selector = Find(budget, {"spec", "selector"});
        auto parsed =
            selector
                ? kubeapi::LabelSelector::FromObject(*selector)
                : base::Result<kubeapi::LabelSelector>(base::Status(base::Code::kNotFound, ""));
        if (!parsed.ok() || !parsed->MatchesObject(*pod) ||
            IntAt(budget, {"status", "disruptionsAllowed"}) > 0)
          return true;
        ApiError error;
        error.code = 429;
        error.reason = "TooManyRequests";
        error.message = "Cannot evict pod as it would violate the pod's disruption budget.";
        error.causes.push_back(
            {"DisruptionBudget",
             fmt::format("The disruption budget {} needs {} healthy pods and has {} currently",
                         key.name, IntAt(budget, {"status", "desiredHealthy"}),
                         IntAt(budget, {"status", "currentHealthy"})),
             ""});
        refused = error;
        return false;
      });
  if (refused) return ErrorResponse(*refused);
  const Json* options = Find(*body, {"deleteOptions"});
  bool gone = false;
  auto removed =
      writer.Remove(*pods, pods->storage_version(), info.ns, info.name,
                    options ? *options : Json::object(), request.Query("dryRun") == "All", &gone);
  if (!removed.ok()) return ErrorResponse(removed.error());
  return JsonResponse(201, {{"kind", "Status"},
                            {"apiVersion", "v1"},
                            {"metadata", Json::object()},
                            {"status", "Success"},
                            {"code", 201}});
}

Response RequestToken(Engine& engine, const Request& request, const RequestInfo& info) {
  auto body = Body(request);
  if (!body.ok()) return ErrorResponse(body.error());
  auto account = engine.Get("serviceaccounts", info.ns, info.name);
  if (!account)
    return ErrorResponse(
        kubeapi::NotFound({"", "v1", "serviceaccounts", "ServiceAccount"}, info.name));
  if (!engine.tokens)
    return ErrorResponse(kubeapi::ServiceUnavailable("this server issues no tokens"));
  Json token = *body;
  std::vector<std::string> audiences = kubeapi::StringsAt(token, {"spec", "audiences"});
  const int64_t seconds = IntAt(token, {"spec", "expirationSeconds"}, 3600);
  if (seconds < 600)
    return ErrorResponse(kubeapi::Invalid(
        {"authentication.k8s.io", "v1", "", "TokenRequest"}, "",
        {{"FieldValueInvalid",
          fmt::format("Invalid value: {}: may not specify a duration less than 10 minutes",
                      seconds),
          "spec.expirationSeconds"}}));
  TokenIssuer::Binding bound{StringAt(token, {"spec", "boundObjectRef", "kind"}),
                             StringAt(token, {"spec", "boundObjectRef", "name"}),
                             StringAt(token, {"spec", "boundObjectRef", "uid"})};
  base::Time expires;
  auto text = engine.tokens->Issue(info.ns, *account, audiences, bound, seconds, &expires);
  if (!text.ok()) {
    if (text.status().code() == base::Code::kNotFound) {
      const bool pod = bound.kind == "Pod";
      return ErrorResponse(
          kubeapi::NotFound({"", "v1", pod ? "pods" : "secrets", bound.kind}, bound.name));
    }
    if (text.status().code() == base::Code::kAborted)
      return ErrorResponse(kubeapi::Conflict({"", "v1", "serviceaccounts/token", ""}, info.name,
                                             text.status().message()));
    return ErrorResponse(kubeapi::BadRequest(text.status().message()));
  }
  token["apiVersion"] = "authentication.k8s.io/v1";
  token["kind"] = "TokenRequest";
  token["metadata"] = {
      {"name", info.name}, {"namespace", info.ns}, {"creationTimestamp", engine.NowText()}};
  if (!token["spec"].is_object()) token["spec"] = Json::object();
  token["spec"]["expirationSeconds"] = seconds;
  if (audiences.empty()) token["spec"]["audiences"] = Json::array({engine.tokens->issuer()});
  if (!token["spec"].contains("boundObjectRef")) token["spec"]["boundObjectRef"] = nullptr;
  token["status"] = {{"token", *text}, {"expirationTimestamp", base::FormatTime(expires)}};
  return JsonResponse(201, token);
}

}  // namespace isthmus::lab::apiserver
