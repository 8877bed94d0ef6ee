#include <fmt/format.h>

#include "base/strings.h"
#include "cli/command.h"
#include "cli/pods.h"
#include "cli/table.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::LabelOf;
using kubeapi::StringAt;

struct CheckOptions {
  std::string workload;
  std::string labels;
};

/// Whether a selector of a webhook entry takes an object with these labels; absent ones take all.
bool Selects(const Json& entry, const char* field, const Json& labels) {
  const Json* selector = Find(entry, {field});
  if (selector == nullptr || selector->is_null()) return true;
  const auto parsed = kubeapi::LabelSelector::FromObject(*selector);
  return parsed.ok() && parsed->Matches(labels);
}

Json LabelsOf(const Json& object) {
  const Json* labels = Find(object, {"metadata", "labels"});
  return labels == nullptr ? Json::object() : *labels;
}

/// The label that decides, for people.
std::string Reason(const Json& ns, const Json& pod, bool injected) {
  if (const auto value = pod.find("sidecar.istio.io/inject"); value != pod.end())
    return fmt::format("Pod label sidecar.istio.io/inject={}", value->get<std::string>());
  for (const char* label : {"istio-injection", "istio.io/rev"})
    if (const auto value = ns.find(label); value != ns.end())
      return fmt::format("Namespace label {}={}", label, value->get<std::string>());
  return injected ? "All new pods are injected" : "No label asks for it";
}

/// Labels of the namespace and of the pod (or those given) that are to be checked.
Result<std::pair<Json, Json>> LabelsToCheck(Session& session, const CheckOptions& options) {
  std::string ns;
  Json pod = Json::object();
  if (!options.workload.empty()) {
    ASSIGN_OR_RETURN(const Json found, FindPod(session, options.workload), "");
    ns = kubeapi::NamespaceOf(found);
    pod = LabelsOf(found);
  } else if (!options.labels.empty()) {
    ASSIGN_OR_RETURN(ns, session.default_namespace(), "");
    for (const std::string& pair : base::SplitList(options.labels)) {
      const auto [key, value] = base::Cut(pair, "=");
      pod[std::string(key)] = std::string(value);
    }
  } else {
    return Error(Code::kInvalidArgument, "name a pod or workload, or give -n NAMESPACE -l LABELS");
  }
  ASSIGN_OR_RETURN(const Json object, session.Get(kNamespaces, "", ns), "namespace");
  return std::pair(LabelsOf(object), std::move(pod));
}

int RunCheckInject(Session& session, const CheckOptions& options) {
  auto labels = LabelsToCheck(session, options);
  if (!labels.ok()) return session.Fail(labels.status());
  auto webhooks = session.List(kMutatingWebhooks, "", "app=sidecar-injector");
  auto tags = session.List(kMutatingWebhooks, "", "istio.io/tag");
  for (const auto* list : {&webhooks, &tags})
    if (!list->ok()) return session.Fail(list->status());
  webhooks->insert(webhooks->end(), tags->begin(), tags->end());
  const auto& [ns, pod] = *labels;
  Table table(2);
  table.Add({"WEBHOOK", "REVISION", "INJECTED", "REASON"});
  std::vector<std::string> injecting;
  for (const Json& webhook : *webhooks) {
    bool injected = false;
    for (const Json& entry : ItemsAt(webhook, {"webhooks"}))
      injected = injected ||
                 (Selects(entry, "namespaceSelector", ns) && Selects(entry, "objectSelector", pod));
    if (injected) injecting.push_back(kubeapi::NameOf(webhook));
    table.Add({kubeapi::NameOf(webhook), LabelOf(webhook, "istio.io/rev"), injected ? "✔" : "✘",
               Reason(ns, pod, injected)});
  }
  session.Out(table.Text());
  if (injecting.size() > 1) {
    session.Err(fmt::format("Error: {} webhooks inject this workload: {}; take all but one away\n",
                            injecting.size(), base::Join(injecting, ", ")));
    return 1;
  }
  return 0;
}

/// "1.2.3" of the proxy's image in a pod; empty without a proxy.
std::string ProxyImage(const Json& pod) {
  for (const char* list : {"containers", "initContainers"})
    for (const Json& container : ItemsAt(pod, {"spec", list}))
      if (StringAt(container, {"name"}) == "istio-proxy") return StringAt(container, {"image"});
  return "";
}

int RunInjectorList(Session& session) {
  auto namespaces = session.List(kNamespaces, "");
  auto webhooks = session.List(kMutatingWebhooks, "", "app=sidecar-injector");
  auto pods = session.List(kPods, session.globals.ns);
  for (const auto* list : {&namespaces, &webhooks, &pods})
    if (!list->ok()) return session.Fail(list->status());
  Table spaces(1), hooks(1);
  spaces.Add({"NAMESPACE", "ISTIO-REVISION", "POD-REVISIONS"});
  hooks.Add({"NAMESPACES", "INJECTOR-HOOK", "ISTIO-REVISION", "SIDECAR-IMAGE"});
  std::map<std::string, std::vector<std::string>> by_hook;
  for (const Json& ns : *namespaces) {
    const std::string name = kubeapi::NameOf(ns);
    if (name == session.globals.istio_ns || name.starts_with("kube-")) continue;
    if (!session.globals.ns.empty() && name != session.globals.ns) continue;
    std::string revision;
    for (const Json& webhook : *webhooks)
      for (const Json& entry : ItemsAt(webhook, {"webhooks"}))
        if (Find(entry, {"namespaceSelector"}) != nullptr &&
            Selects(entry, "namespaceSelector", LabelsOf(ns)) &&
            Selects(entry, "objectSelector", Json::object())) {
          revision = LabelOf(webhook, "istio.io/rev");
          auto& served = by_hook[kubeapi::NameOf(webhook)];
          if (served.empty() || served.back() != name) served.push_back(name);
        }
    std::map<std::string, int> revisions;
    for (const Json& pod : *pods)
      if (kubeapi::NamespaceOf(pod) == name) {
        std::string of = LabelOf(pod, "istio.io/rev");
        if (of.empty() && !ProxyImage(pod).empty()) of = "default";
        ++revisions[of.empty() ? "NON-ISTIO" : of];
      }
    std::vector<std::string> counts;
    for (const auto& [of, count] : revisions) counts.push_back(fmt::format("{}: {}", of, count));
    if (!revision.empty() || !counts.empty())
      spaces.Add({name, revision, counts.empty() ? "<no pods>" : base::Join(counts, ", ")});
  }
  for (const Json& webhook : *webhooks) {
    const std::string name = kubeapi::NameOf(webhook);
    std::string image = "<unknown>";
    for (const Json& pod : *pods)
      if (const std::string of = ProxyImage(pod);
          !of.empty() && kubeapi::NamespaceOf(pod) != session.globals.istio_ns)
        image = of;
    const auto served = by_hook.find(name);
    hooks.Add({served == by_hook.end() ? "DOES NOT AUTOINJECT" : base::Join(served->second, ","),
               name, LabelOf(webhook, "istio.io/rev"), image});
  }
  session.Out(spaces.Text() + "\n" + hooks.Text());
  return 0;
}

}  // namespace

void AddInjectionCheckCommands(Commands& commands, CLI::App* group) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* check = AddCommand(group, "check-inject",
                               "Tells whether a workload gets a proxy, and which label decides",
                               "  % x check-inject deploy/cart.shop\n"
                               "  % x check-inject -n shop -l app=cart,version=v1\n");
  check->add_option("workload", options->workload, "[TYPE/]NAME[.NAMESPACE]");
  check->add_option("-l,--labels", options->labels, "Labels of a pod that does not exist yet");
  OnChosen(check, commands,
           [options](Session& session) { return RunCheckInject(session, *options); });
  CLI::App* injector = AddGroup(group, "injector", "Injectors and the namespaces they serve");
  CLI::App* list = AddCommand(injector, "list", "Lists namespaces and injection webhooks",
                              "  % x injector list\n");
  OnChosen(list, commands, [](Session& session) { return RunInjectorList(session); });
}

}  // namespace isthmus::cli
