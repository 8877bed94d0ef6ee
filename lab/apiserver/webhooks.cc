#include "lab/apiserver/webhooks.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/net.h"
#include "base/strings.h"
#include "http/client.h"
#include "kubeapi/meta.h"
#include "kubeapi/patch.h"
#include "kubeapi/selector.h"
#include "pki/digest.h"

namespace isthmus::lab::apiserver {
namespace {

using base::Code;
using base::Error;
using kubeapi::ApiError;
using kubeapi::Find;
using kubeapi::LabelSelector;
using kubeapi::StringAt;
using kubeapi::StringsAt;

constexpr char kMutating[] = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
constexpr char kValidating[] = "validatingwebhookconfigurations.admissionregistration.k8s.io";

struct Rule {
  std::vector<std::string> operations, groups, versions, resources;
  std::string scope;
};

bool ResourceFits(const std::string& pattern, const std::string& resource, const std::string& sub) {
  const auto [name, wanted] = base::Cut(pattern, "/");
  if (name != "*" && name != resource) return false;
  return wanted == sub || (wanted == "*") || (pattern == "*" && sub.empty());
}

LabelSelector SelectorAt(const Json& hook, const char* key) {
  const Json* value = Find(hook, {key});
  if (!value || !value->is_object()) return {};
  auto parsed = LabelSelector::FromObject(*value);
  return parsed.ok() ? *parsed : LabelSelector();
}

}  // namespace

struct HttpWebhooks::Hook {
  std::string name;
  std::vector<Rule> rules;
  bool exact = false;
  LabelSelector namespaces, objects;
  bool fail = true;
  bool reinvoke = false;
  int64_t timeout_seconds = 10;
  std::string review_version = "v1";
  std::string url;  ///< Or the service:
  std::string service_ns, service_name, service_path;
  int64_t service_port = 443;
  std::string ca_pem;
};

struct HttpWebhooks::Round {
  std::shared_ptr<Admission> admission;
  std::vector<HookPtr> hooks;
  std::vector<Json> after;  ///< The object as each hook left it.
  size_t next = 0;
  bool second = false;
  Done done;
};

HttpWebhooks::HttpWebhooks(base::Loop& loop, Engine& engine) : loop_(loop), engine_(engine) {
  subscription_ = engine_.store.Observe([this](const StoreEvent& event) {
    if (event.key.resource == kMutating || event.key.resource == kValidating) stale_ = true;
  });
}

HttpWebhooks::~HttpWebhooks() = default;

void HttpWebhooks::Load() {
  stale_ = false;
  auto load = [this](const char* resource, std::vector<HookPtr>* hooks) {
    hooks->clear();
    engine_.store.List(resource, "", std::nullopt, [&](const ObjectKey&, std::string_view text) {
      const Json configuration = Json::parse(text, nullptr, false);
      const Json* list = Find(configuration, {"webhooks"});
      if (!list || !list->is_array()) return true;
      for (const Json& each : *list) {
        auto hook = std::make_shared<Hook>();
        hook->name = StringAt(each, {"name"});
        if (const Json* rules = Find(each, {"rules"}); rules && rules->is_array())
          for (const Json& rule : *rules)
            hook->rules.push_back({StringsAt(rule, {"operations"}), StringsAt(rule, {"apiGroups"}),
                                   StringsAt(rule, {"apiVersions"}), StringsAt(rule, {"resources"}),
                                   StringAt(rule, {"scope"})});
        hook->exact = StringAt(each, {"matchPolicy"}) == "Exact";
        hook->namespaces = SelectorAt(each, "namespaceSelector");
        hook->objects = SelectorAt(each, "objectSelector");
        hook->fail = StringAt(each, {"failurePolicy"}) != "Ignore";
        hook->reinvoke = StringAt(each, {"reinvocationPolicy"}) == "IfNeeded";
        hook->timeout_seconds =
            std::clamp<int64_t>(kubeapi::IntAt(each, {"timeoutSeconds"}, 10), 1, 30);
        const auto versions = StringsAt(each, {"admissionReviewVersions"});
        if (!versions.empty() &&
            std::find(versions.begin(), versions.end(), "v1") == versions.end())
          hook->review_version = "v1beta1";
        hook->url = StringAt(each, {"clientConfig", "url"});
        hook->service_ns = StringAt(each, {"clientConfig", "service", "namespace"});
        hook->service_name = StringAt(each, {"clientConfig", "service", "name"});
        hook->service_path = StringAt(each, {"clientConfig", "service", "path"});
        hook->service_port = kubeapi::IntAt(each, {"clientConfig", "service", "port"}, 443);
        if (auto pem = base::Base64Decode(StringAt(each, {"clientConfig", "caBundle"})); pem.ok())
          hook->ca_pem = *pem;
        hooks->push_back(std::move(hook));
      }
      return true;
    });
  };
  load(kMutating, &mutating_);
  load(kValidating, &validating_);
}

bool HttpWebhooks::Matches(const Hook& hook, const Admission& admission) const {
  const Kind& kind = *admission.kind;
  const bool fits = std::any_of(hook.rules.begin(), hook.rules.end(), [&](const Rule& rule) {
    if (!NamesOrAll(rule.operations, admission.operation) || !NamesOrAll(rule.groups, kind.group))
      return false;
    const bool version =
        NamesOrAll(rule.versions, admission.version->name) ||
        (!hook.exact &&
         std::any_of(kind.versions.begin(), kind.versions.end(), [&](const KindVersion& each) {
           return each.served && NamesOrAll(rule.versions, each.name);
         }));
    if (!version) return false;
    if (rule.scope == "Namespaced" && admission.ns.empty()) return false;
    if (rule.scope == "Cluster" && !admission.ns.empty()) return false;
    return std::any_of(rule.resources.begin(), rule.resources.end(), [&](const std::string& each) {
      return ResourceFits(each, kind.plural, admission.subresource);
    });
  });
  if (!fits) return false;
  if (!hook.objects.empty()) {
    const bool now = admission.object.is_object() && hook.objects.MatchesObject(admission.object);
    const bool before =
        admission.old_object.is_object() && hook.objects.MatchesObject(admission.old_object);
    if (!now && !before) return false;
  }
  if (hook.namespaces.empty()) return true;
  if (kind.resource_key() == "namespaces") {
    const Json& object = admission.object.is_object() ? admission.object : admission.old_object;
    return hook.namespaces.MatchesObject(object);
  }
  if (admission.ns.empty()) return true;
  auto ns = engine_.Get("namespaces", "", admission.ns);
  return ns && hook.namespaces.MatchesObject(*ns);
}

std::vector<HttpWebhooks::HookPtr> HttpWebhooks::Matching(const std::vector<HookPtr>& hooks,
                                                          const Admission& admission) const {
  std::vector<HookPtr> out;
  // Hooks may not stand between an administrator and their own configuration.
  if (admission.kind->group == "admissionregistration.k8s.io") return out;
  for (const HookPtr& hook : hooks)
    if (Matches(*hook, admission)) out.push_back(hook);
  return out;
}

/// The URL to call and the name its certificate must have.
base::Result<std::pair<std::string, std::string>> HttpWebhooks::Target(const Hook& hook) const {
  if (!hook.url.empty()) return std::pair(hook.url, std::string());
  const std::string dns = hook.service_name + "." + hook.service_ns + ".svc";
  std::string path = hook.service_path;
  if (!path.starts_with("/")) path = "/" + path;
  auto service = engine_.Get("services", hook.service_ns, hook.service_name);
  if (!service) return Error(Code::kUnavailable, "service \"{}\" not found", hook.service_name);
  if (StringAt(*service, {"spec", "type"}) == "ExternalName")
    return std::pair(fmt::format("https://{}:{}{}", StringAt(*service, {"spec", "externalName"}),
                                 hook.service_port, path),
                     dns);
  std::string port_name;
  bool known = false;
  if (const Json* ports = Find(*service, {"spec", "ports"}); ports && ports->is_array())
    for (const Json& port : *ports)
      if (kubeapi::IntAt(port, {"port"}) == hook.service_port) {
        port_name = StringAt(port, {"name"});
        known = true;
      }
  if (!known)
    return Error(Code::kUnavailable, "no service port {} found for service \"{}\"",
                 hook.service_port, hook.service_name);
  auto endpoints = engine_.Get("endpoints", hook.service_ns, hook.service_name);
  std::string address;
  int64_t number = 0;
  if (endpoints)
    if (const Json* subsets = Find(*endpoints, {"subsets"}); subsets && subsets->is_array())
      for (const Json& subset : *subsets) {
        const Json *addresses = Find(subset, {"addresses"}), *ports = Find(subset, {"ports"});
        if (!addresses || !ports || !addresses->is_array() || addresses->empty() ||
            !ports->is_array() || number)
          continue;
        for (const Json& port : *ports)
          if (StringAt(port, {"name"}) == port_name || ports->size() == 1) {
            address = StringAt((*addresses)[pki::RandomBytes(1)[0] % addresses->size()], {"ip"});
            number = kubeapi::IntAt(port, {"port"});
          }
      }
  // A service without Endpoints may have slices made by hand, or of pods that end; its address
  // leads to them.
  if (const std::string cluster_ip = StringAt(*service, {"spec", "clusterIP"});
      !number && !cluster_ip.empty() && cluster_ip != "None") {
    address = cluster_ip;
    number = hook.service_port;
  }
  if (!number)
    return Error(Code::kUnavailable, "no endpoints available for service \"{}\"",
                 hook.service_name);
  return std::pair(fmt::format("https://{}{}",
                               base::HostPort{address, static_cast<uint16_t>(number)}.text(), path),
                   dns);
}

void HttpWebhooks::Call(const HookPtr& hook, const Admission& admission, Answer answer) {
  auto target = Target(*hook);
  if (!target.ok()) return answer(target.status());
  const auto& [url, server_name] = *target;
  const size_t slash = url.find('/', url.find("://") + 3);
  const std::string origin = url.substr(0, slash),
                    path = slash == url.npos ? "/" : url.substr(slash);
  if (!origin.starts_with("https://"))
    return answer(Error(Code::kInvalidArgument, "webhook URL {} is not https", url));
  std::shared_ptr<http::Client>& client = clients_[origin + " " + server_name + " " + hook->ca_pem];
  if (!client) {
    http::ClientOptions options;
    options.url = origin;
    options.tls.emplace();
    options.tls->server_name = server_name;
    options.tls->alpn = {"http/1.1"};
    auto roots = pki::TrustBundle::FromPem(hook->ca_pem);
    if (!roots.ok()) {
      clients_.erase(origin + " " + server_name + " " + hook->ca_pem);
      return answer(Error(Code::kUnavailable,
                          "tls: failed to verify certificate: x509: certificate signed by unknown "
                          "authority (no caBundle)"));
    }
    options.tls->roots = std::make_shared<const pki::TrustBundle>(std::move(*roots));
    client = std::make_shared<http::Client>(loop_, std::move(options));
  }
  const Kind& kind = *admission.kind;
  const Json gvk = {
      {"group", kind.group}, {"version", admission.version->name}, {"kind", kind.kind}};
  const Json gvr = {
      {"group", kind.group}, {"version", admission.version->name}, {"resource", kind.plural}};
  Json ask = {{"uid", pki::RandomUuid()},
              {"kind", gvk},
              {"resource", gvr},
              {"requestKind", gvk},
              {"requestResource", gvr},
              {"name", admission.name},
              {"operation", admission.operation},
              {"userInfo", admission.user.ToJson()},
              {"object", admission.object},
              {"oldObject", admission.old_object},
              {"dryRun", admission.dry_run},
              {"options", admission.options}};
  if (!admission.ns.empty()) ask["namespace"] = admission.ns;
  if (!admission.subresource.empty()) {
    ask["subResource"] = admission.subresource;
    ask["requestSubResource"] = admission.subresource;
  }
  const std::string uid = ask["uid"];
  http::Request request;
  request.method = "POST";
  request.target = path + (path.find('?') == path.npos ? "?" : "&") +
                   fmt::format("timeout={}s", hook->timeout_seconds);
  request.authority = server_name.empty() ? origin.substr(8) : server_name;
  request.headers = {{"content-type", "application/json"},
                     {"accept", "application/json"},
                     {"user-agent", "kube-apiserver-admission"}};
  request.body = kubeapi::ToJson({{"kind", "AdmissionReview"},
                                  {"apiVersion", "admission.k8s.io/" + hook->review_version},
                                  {"request", std::move(ask)}});
  const std::string asked = origin + request.target;
  client->Fetch(
      std::move(request), std::chrono::seconds(hook->timeout_seconds),
      [asked, uid, answer, client](base::Result<http::Response> response) {
        if (!response.ok()) return answer(response.status().In(fmt::format("Post \"{}\"", asked)));
        if (response->status != 200)
          return answer(Error(Code::kUnavailable,
                              "an error on the server (\"unknown\") has prevented the request from "
                              "succeeding (it answered {} to Post \"{}\")",
                              response->status, asked));
        auto review = kubeapi::ParseJson(response->body);
        const Json* said = review.ok() ? Find(*review, {"response"}) : nullptr;
        if (!said || !said->is_object())
          return answer(
              Error(Code::kInvalidArgument, "expected webhook response of an AdmissionReview"));
        if (StringAt(*said, {"uid"}) != uid)
          return answer(Error(Code::kInvalidArgument, "expected response.uid=\"{}\", got \"{}\"",
                              uid, StringAt(*said, {"uid"})));
        answer(*said);
      });
}

std::optional<ApiError> HttpWebhooks::Accept(const Hook& hook, Admission* admission,
                                             const base::Result<Json>& answer,
                                             bool mutating) const {
  auto failed = [&](const std::string& why) -> std::optional<ApiError> {
    if (!hook.fail) return std::nullopt;
    return kubeapi::InternalError(
        fmt::format("failed calling webhook \"{}\": failed to call webhook: {}", hook.name, why));
  };
  auto invalid = [&](const std::string& why) -> std::optional<ApiError> {
    if (!hook.fail) return std::nullopt;
    return kubeapi::InternalError(fmt::format(
        "failed calling webhook \"{}\": received invalid webhook response: {}", hook.name, why));
  };
  if (!answer.ok()) return failed(answer.status().message());
  if (const Json* warnings = Find(answer.value(), {"warnings"}); warnings && warnings->is_array())
    for (const Json& each : *warnings)
      if (each.is_string()) admission->warnings.push_back(each);
  if (!kubeapi::BoolAt(answer.value(), {"allowed"})) {
    ApiError error;
    error.code = static_cast<int>(kubeapi::IntAt(answer.value(), {"status", "code"}, 400));
    if (error.code < 400 || error.code > 599) error.code = 400;
    error.reason = StringAt(answer.value(), {"status", "reason"});
    const std::string why = StringAt(answer.value(), {"status", "message"});
    error.message = fmt::format("admission webhook \"{}\" denied the request", hook.name);
    if (!why.empty())
      error.message += ": " + why;
    else if (!error.reason.empty())
      error.message += ": " + error.reason;
    else
      error.message += " without explanation";
    return error;
  }
  const std::string encoded = StringAt(answer.value(), {"patch"});
  if (encoded.empty()) return std::nullopt;
  if (!mutating) return invalid("validating webhook may not return response.patch");
  if (admission->operation == "DELETE")
    return kubeapi::InternalError(
        fmt::format("admission webhook \"{}\" attempted to modify the object, which is not "
                    "supported for this operation",
                    hook.name));
  if (StringAt(answer.value(), {"patchType"}) != "JSONPatch")
    return failed("webhook returned response.patch but not response.patchType JSONPatch");
  auto text = base::Base64Decode(encoded);
  auto patch = text.ok() ? kubeapi::ParseJson(*text) : base::Result<Json>(text.status());
  if (!patch.ok()) return failed("the patch does not parse: " + patch.status().message());
  auto patched = kubeapi::ApplyJsonPatch(admission->object, *patch);
  if (!patched.ok())
    return kubeapi::InternalError(fmt::format("the patch of webhook \"{}\" does not apply: {}",
                                              hook.name, patched.status().message()));
  if (!patched->is_object()) return failed("the patched object is not an object");
  admission->object = std::move(*patched);
  return std::nullopt;
}

void HttpWebhooks::Mutate(std::shared_ptr<Admission> admission, Done done) {
  if (stale_) Load();
  auto round = std::make_shared<Round>();
  round->hooks = mutating_.empty() ? std::vector<HookPtr>() : Matching(mutating_, *admission);
  if (round->hooks.empty()) return done(std::nullopt);
  round->admission = std::move(admission);
  round->done = std::move(done);
  Step(round);
}

void HttpWebhooks::Step(std::shared_ptr<Round> round) {
  if (round->next == round->hooks.size()) {
    // Hooks whose result a later one changed are asked again, once.
    std::vector<HookPtr> again;
    if (!round->second)
      for (size_t i = 0; i < round->hooks.size(); ++i)
        if (round->hooks[i]->reinvoke && round->after[i] != round->admission->object)
          again.push_back(round->hooks[i]);
    if (again.empty()) return round->done(std::nullopt);
    round->second = true;
    round->hooks = std::move(again);
    round->after.clear();
    round->next = 0;
  }
  const HookPtr hook = round->hooks[round->next++];
  Call(hook, *round->admission,
       [this, alive = std::weak_ptr<bool>(alive_), round, hook](base::Result<Json> answer) {
         if (alive.expired()) return;
         if (auto error = Accept(*hook, round->admission.get(), answer, true))
           return round->done(*error);
         round->after.push_back(round->admission->object);
         Step(round);
       });
}

void HttpWebhooks::Validate(std::shared_ptr<Admission> admission, Done done) {
  if (stale_) Load();
  const std::vector<HookPtr> hooks =
      validating_.empty() ? std::vector<HookPtr>() : Matching(validating_, *admission);
  if (hooks.empty()) return done(std::nullopt);
  struct Waiting {
    size_t left;
    std::optional<ApiError> refusal;
  };
  auto waiting = std::make_shared<Waiting>(Waiting{hooks.size(), std::nullopt});
  for (const HookPtr& hook : hooks)
    Call(hook, *admission,
         [this, alive = std::weak_ptr<bool>(alive_), waiting, hook, admission,
          done](base::Result<Json> answer) {
           if (alive.expired()) return;
           auto refusal = Accept(*hook, admission.get(), answer, false);
           if (refusal && !waiting->refusal) waiting->refusal = std::move(refusal);
           if (--waiting->left == 0) done(waiting->refusal);
         });
}

}  // namespace isthmus::lab::apiserver
