#include "lab/apiserver/reviews.h"

#include "kubeapi/meta.h"
#include "lab/apiserver/authorizer.h"
#include "lab/apiserver/output.h"
#include "lab/apiserver/tokens.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::Find;
using kubeapi::StringAt;
using kubeapi::StringsAt;

void ReviewToken(const Engine& engine, Json* review) {
  const std::vector<std::string> audiences = StringsAt(*review, {"spec", "audiences"});
  const std::string token = StringAt(*review, {"spec", "token"});
  if (!engine.tokens) {
    (*review)["status"] = {{"user", Json::object()}, {"error", "tokens are not checked here"}};
    return;
  }
  auto identity = engine.tokens->Check(token, audiences);
  if (!identity.ok()) {
    (*review)["status"] = {{"user", Json::object()}, {"error", "invalid bearer token"}};
    return;
  }
  (*review)["status"] = {{"authenticated", true},
                         {"user", identity->user.ToJson()},
                         {"audiences", identity->audiences}};
}

/// The attributes that an access review asks about.
RequestInfo InfoOf(const Json& spec, const std::string& ns) {
  RequestInfo info;
  if (const Json* attributes = Find(spec, {"resourceAttributes"});
      attributes && attributes->is_object()) {
    info.resource_request = true;
    info.verb = StringAt(*attributes, {"verb"});
    info.group = StringAt(*attributes, {"group"});
    info.version = StringAt(*attributes, {"version"});
    info.resource = StringAt(*attributes, {"resource"});
    info.subresource = StringAt(*attributes, {"subresource"});
    info.name = StringAt(*attributes, {"name"});
    info.ns = ns.empty() ? StringAt(*attributes, {"namespace"}) : ns;
  } else {
    info.verb = StringAt(spec, {"nonResourceAttributes", "verb"});
    info.path = StringAt(spec, {"nonResourceAttributes", "path"});
  }
  return info;
}

Json RuleJson(const PolicyRule& rule) {
  Json out = {{"verbs", rule.verbs}};
  if (rule.urls.empty()) {
    out["apiGroups"] = rule.groups;
    out["resources"] = rule.resources;
    if (!rule.names.empty()) out["resourceNames"] = rule.names;
  } else {
    out["nonResourceURLs"] = rule.urls;
  }
  return out;
}

void ReviewRules(Engine& engine, const User& user, Json* review) {
  Json resources = Json::array(), urls = Json::array();
  if (engine.authorizer)
    for (const PolicyRule& rule :
         engine.authorizer->RulesFor(user, StringAt(*review, {"spec", "namespace"})))
      (rule.urls.empty() ? resources : urls).push_back(RuleJson(rule));
  (*review)["status"] = {
      {"resourceRules", resources}, {"nonResourceRules", urls}, {"incomplete", false}};
}

}  // namespace

Response AnswerReview(Engine& engine, const Request& request, const RequestInfo& info,
                      const Kind& kind, const KindVersion& version) {
  auto output = Output::Negotiate(request);
  if (!output.ok()) return ErrorResponse(output.error());
  auto body = request.Header("content-type").find("yaml") != std::string::npos
                  ? kubeapi::ParseYaml(request.body)
                  : kubeapi::ParseJson(request.body);
  if (!body.ok() || !body->is_object())
    return ErrorResponse(kubeapi::BadRequest("the body of the request is not an object: " +
                                             body.status().message()));
  Json review = std::move(*body);
  if (const std::string given = kubeapi::KindOf(review); !given.empty() && given != kind.kind)
    return ErrorResponse(
        kubeapi::BadRequest(fmt::format("the object is a {}, not a {}", given, kind.kind)));
  review["apiVersion"] = kind.ApiVersion(version);
  review["kind"] = kind.kind;
  if (!review["metadata"].is_object()) review["metadata"] = {{"creationTimestamp", nullptr}};
  if (!review["spec"].is_object()) review["spec"] = Json::object();
  if (kind.kind == "TokenReview") {
    ReviewToken(engine, &review);
  } else if (kind.kind == "SelfSubjectReview") {
    review.erase("spec");
    review["status"] = {{"userInfo", request.user.ToJson()}};
  } else if (kind.kind == "SelfSubjectRulesReview") {
    ReviewRules(engine, request.user, &review);
  } else {
    User user = request.user;
    if (kind.kind != "SelfSubjectAccessReview") {
      user = User{};
      user.name = StringAt(review, {"spec", "user"});
      user.groups = StringsAt(review, {"spec", "groups"});
    }
    const RequestInfo about =
        InfoOf(review["spec"], kind.kind == "LocalSubjectAccessReview" ? info.ns : "");
    std::string reason;
    const bool allowed = !engine.authorizer || engine.authorizer->Allows(user, about, &reason);
    review["status"] = {{"allowed", allowed}};
    if (!reason.empty()) review["status"]["reason"] = reason;
  }
  return output->Respond(201, review.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace isthmus::lab::apiserver
