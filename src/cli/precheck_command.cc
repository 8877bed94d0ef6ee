#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"
#include "kubeapi/meta.h"
#include "kubeclient/sync.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Result;
using kubeapi::StringAt;

constexpr int kOldestMinor = 25;  ///< Of Kubernetes 1.x, that this control plane is tried with.

struct Permission {
  const char* group;
  const char* resource;
  bool namespaced;
};

/// What install creates; whoever may not will fail half way.
constexpr Permission kNeeded[] = {
    {"", "namespaces", false},
    {"rbac.authorization.k8s.io", "clusterroles", false},
    {"rbac.authorization.k8s.io", "clusterrolebindings", false},
    {"apiextensions.k8s.io", "customresourcedefinitions", false},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", false},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", false},
    {"rbac.authorization.k8s.io", "roles", true},
    {"rbac.authorization.k8s.io", "rolebindings", true},
    {"", "serviceaccounts", true},
    {"", "services", true},
    {"", "configmaps", true},
    {"", "secrets", true},
    {"apps", "deployments", true},
};

Result<Json> Post(Session& session, kubeclient::Client& client, const std::string& path,
                  const Json& body) {
  http::Request request;
  request.method = "POST";
  request.target = path;
  request.headers.Set("content-type", "application/json");
  request.body = kubeapi::ToJson(body);
  auto answer = kubeclient::Await<http::Response>(
      session.loop(), std::chrono::seconds(20),
      [&](auto done) { client.Raw(request, std::chrono::seconds(15), done); });
  if (!answer.ok()) return answer.status();
  return kubeapi::ParseJson(answer->body);
}

/// Findings as lines of analyze: level, code, text.
using Lines = std::vector<std::array<std::string, 3>>;

base::Status CheckPermissions(Session& session, kubeclient::Client& client, Lines& lines) {
  for (const Permission& needed : kNeeded) {
    Json review = {
        {"apiVersion", "authorization.k8s.io/v1"},
        {"kind", "SelfSubjectAccessReview"},
        {"spec",
         {{"resourceAttributes",
           {{"verb", "create"}, {"group", needed.group}, {"resource", needed.resource}}}}}};
    if (needed.namespaced)
      review["spec"]["resourceAttributes"]["namespace"] = session.globals.istio_ns;
    auto answer =
        Post(session, client, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review);
    if (!answer.ok()) return answer.status().In("asking what this user may do");
    if (!kubeapi::BoolAt(*answer, {"status", "allowed"}))
      lines.push_back({"Error", "IST0141",
                       fmt::format("Missing required permission to create resource {}{}{}",
                                   needed.resource, *needed.group == 0 ? "" : ".", needed.group)});
  }
  return {};
}

base::Status CheckVersion(Session& session, kubeclient::Client& client, Lines& lines) {
  http::Request request;
  request.target = "/version";
  auto answer = kubeclient::Await<http::Response>(
      session.loop(), std::chrono::seconds(20),
      [&](auto done) { client.Raw(request, std::chrono::seconds(15), done); });
  if (!answer.ok()) return answer.status();
  ASSIGN_OR_RETURN(const Json version, kubeapi::ParseJson(answer->body), "/version");
  const auto minor = base::ParseInt(base::Cut(StringAt(version, {"minor"}), "+").first);
  if (minor.ok() && *minor < kOldestMinor)
    lines.push_back({"Error", "IST0142",
                     fmt::format("The Kubernetes version {} is too old; 1.{} or newer is needed",
                                 StringAt(version, {"gitVersion"}), kOldestMinor)});
  return {};
}

base::Status CheckWebhooks(Session& session, Lines& lines) {
  auto webhooks = session.List(kMutatingWebhooks, "", "app=sidecar-injector");
  if (!webhooks.ok()) return webhooks.status();
  for (const Json& webhook : *webhooks)
    for (const Json& entry : kubeapi::ItemsAt(webhook, {"webhooks"})) {
      const Json* service = kubeapi::Find(entry, {"clientConfig", "service"});
      if (service == nullptr) continue;
      auto found =
          session.Get(kServices, StringAt(*service, {"namespace"}), StringAt(*service, {"name"}));
      if (found.ok() || found.status().code() != Code::kNotFound) continue;
      lines.push_back(
          {"Error", "IST0139",
           fmt::format(
               "Webhook {} leads to the service {}/{}, which is not there: no pod it selects can "
               "be created. Delete the webhook, or install that control plane again",
               kubeapi::NameOf(webhook), StringAt(*service, {"namespace"}),
               StringAt(*service, {"name"}))});
      break;
    }
  return {};
}

int RunPrecheck(Session& session, const std::string& output) {
  auto client = session.client();
  if (!client.ok()) return session.Fail(client.status());
  Lines lines;
  if (const auto s = CheckVersion(session, **client, lines); !s.ok()) return session.Fail(s);
  if (const auto s = CheckPermissions(session, **client, lines); !s.ok()) return session.Fail(s);
  if (const auto s = CheckWebhooks(session, lines); !s.ok()) return session.Fail(s);
  if (output != "log") {
    Json list = Json::array();
    for (const auto& [level, code, text] : lines)
      list.push_back({{"level", level}, {"code", code}, {"message", text}});
    session.Out(Print(list, output));
  } else {
    for (const auto& [level, code, text] : lines)
      session.Out(fmt::format("{} [{}] {}\n", level, code, text));
  }
  if (!lines.empty()) return 1;
  session.Err("✔ No issues found when checking the cluster. It is safe to install or upgrade!\n");
  return 0;
}

}  // namespace

void AddPrecheckCommand(Commands& commands, CLI::App* group) {
  struct Options {
    std::string output = "log", from, threshold;
    bool skip = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      AddCommand(group, "precheck", "Tells whether a cluster can take an installation",
                 "  % x precheck\n  % x precheck --context=cluster2 -o json\n");
  AddOutput(command, options->output, {"log", "json", "yaml"});
  command->add_option("-f,--from-version", options->from)->group("");
  command->add_option("--output-threshold", options->threshold)->group("");
  command->add_flag("--skip-controlplane", options->skip)->group("");
  OnChosen(command, commands,
           [options](Session& session) { return RunPrecheck(session, options->output); });
}

}  // namespace isthmus::cli
