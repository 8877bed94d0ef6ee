#include "cli/pods.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "kubeapi/selector.h"
#include "kubeclient/pod_exec.h"
#include "kubeclient/sync.h"

namespace isthmus::cli {
namespace {

using base::Code;
using base::Error;
using base::Result;
using base::Status;
using kubeapi::Find;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

struct Workload {
  std::array<std::string_view, 3> words;
  Resource resource;
};

/// The kinds that select pods, by the words that kubectl takes for them.
const Resource* FindWorkload(std::string_view type) {
  static const std::vector<Workload> kWorkloads = {
      {{"deployment", "deploy", "deployments"}, kDeployments},
      {{"service", "svc", "services"}, kServices},
      {{"statefulset", "sts", "statefulsets"}, kubeapi::kStatefulSets},
      {{"daemonset", "ds", "daemonsets"}, kubeapi::kDaemonSets},
      {{"replicaset", "rs", "replicasets"}, kubeapi::kReplicaSets},
      {{"job", "jobs", "job.batch"}, kubeapi::kJobs},
      {{"replicationcontroller", "rc", "replicationcontrollers"},
       {"", "v1", "replicationcontrollers", "ReplicationController", true}}};
  // "deployment.apps" names its group, too.
  const std::string_view plain = type == "job.batch" ? type : type.substr(0, type.find('.'));
  for (const Workload& workload : kWorkloads)
    for (const std::string_view word : workload.words)
      if (word == plain) return &workload.resource;
  return nullptr;
}

/// Ready pods before running ones before others, then the oldest.
bool Before(const Json& a, const Json& b) {
  const auto rank = [](const Json& pod) {
    const bool running =
        StringAt(pod, {"status", "phase"}) == "Running" && !kubeapi::IsBeingDeleted(pod);
    return running ? (kubeapi::ConditionIsTrue(pod, "Ready") ? 0 : 1) : 2;
  };
  const auto created = [](const Json& pod) {
    return StringAt(pod, {"metadata", "creationTimestamp"});
  };
  return std::pair(rank(a), created(a)) < std::pair(rank(b), created(b));
}

Result<std::string> SelectorOf(Session& session, const PodArgument& pod, const std::string& ns) {
  if (pod.type == "gateway" || pod.type == "gtw")
    return "gateway.networking.k8s.io/gateway-name=" + pod.name;
  const Resource* resource = FindWorkload(pod.type);
  if (resource == nullptr)
    return Error(Code::kInvalidArgument,
                 "\"{}\" is no kind with pods; use pod, deployment, service and the like",
                 pod.type);
  ASSIGN_OR_RETURN(const Json object, session.Get(*resource, ns, pod.name), pod.type);
  const Json* selector = Find(object, {"spec", "selector"});
  if (selector == nullptr || !selector->is_object() || selector->empty())
    return Error(Code::kFailedPrecondition, "{}/{} in {} selects no pods", pod.type, pod.name, ns);
  if (!selector->contains("matchLabels") && !selector->contains("matchExpressions"))
    return kubeapi::LabelSelector::FromLabels(*selector).ToString();
  ASSIGN_OR_RETURN(const auto parsed, kubeapi::LabelSelector::FromObject(*selector), "selector");
  return parsed.ToString();
}

}  // namespace

PodArgument ParsePodArgument(std::string_view text) {
  PodArgument pod;
  if (const size_t slash = text.rfind('/'); slash != text.npos) {
    pod.type = base::ToLower(text.substr(0, slash));
    text.remove_prefix(slash + 1);
  }
  if (pod.type == "pod" || pod.type == "pods" || pod.type == "po") pod.type.clear();
  const size_t dot = text.rfind('.');
  pod.name = text.substr(0, dot);
  if (dot != text.npos) pod.ns = text.substr(dot + 1);
  return pod;
}

Result<Json> FindPod(Session& session, std::string_view argument) {
  const PodArgument pod = ParsePodArgument(argument);
  std::string ns = pod.ns;
  if (ns.empty()) {
    ASSIGN_OR_RETURN(ns, session.default_namespace(), "finding the pod");
  }
  if (pod.type.empty()) {
    auto found = session.Get(kPods, ns, pod.name);
    if (!found.ok() && found.status().code() == Code::kNotFound)
      return Error(Code::kNotFound,
                   "pod \"{}\" is not in namespace \"{}\"; write POD.NAMESPACE or give -n",
                   pod.name, ns);
    return found;
  }
  ASSIGN_OR_RETURN(const std::string selector, SelectorOf(session, pod, ns), "finding pods");
  ASSIGN_OR_RETURN(std::vector<Json> pods, session.List(kPods, ns, selector), "finding pods");
  if (pods.empty())
    return Error(Code::kNotFound, "{}/{} in namespace \"{}\" has no pods", pod.type, pod.name, ns);
  return *std::min_element(pods.begin(), pods.end(), Before);
}

Result<std::string> ExecInPod(kubeclient::Client& client, base::Loop& loop, const std::string& ns,
                              const std::string& pod, const std::string& container,
                              const std::vector<std::string>& command) {
  // The exec has its own time limit, for silence.
  std::unique_ptr<kubeclient::PodExec> exec;
  auto outcome =
      kubeclient::Await<kubeclient::ExecOutcome>(loop, std::chrono::hours(1), [&](auto done) {
        exec = std::make_unique<kubeclient::PodExec>(
            loop, client, kubeclient::ExecRequest{ns, pod, container, command}, std::move(done));
      });
  if (!outcome.ok()) return outcome.status();
  if (outcome->exit_code == 0) return std::move(outcome->out);
  const std::string_view said = base::Trim(outcome->err);
  return Error(Code::kFailedPrecondition, "running {} in {}/{}: exit code {}{}{}", command[0], ns,
               pod, outcome->exit_code, said.empty() ? "" : ": ", said);
}

Result<std::string> AskProxy(Session& session, const Json& pod, const std::string& path,
                             const std::string& method) {
  auto client = session.client();
  if (!client.ok()) return client.status();
  std::string container;
  for (const char* list : {"containers", "initContainers"})
    for (const Json& item : ItemsAt(pod, {"spec", list}))
      if (StringAt(item, {"name"}) == "istio-proxy") container = "istio-proxy";
  if (container.empty())
    return Error(Code::kFailedPrecondition,
                 "pod {} has no istio-proxy container; it is not part of the mesh",
                 kubeapi::KeyOf(pod));
  return ExecInPod(**client, session.loop(), kubeapi::NamespaceOf(pod), kubeapi::NameOf(pod),
                   container, {"pilot-agent", "request", method, path});
}

Result<std::vector<Json>> FindIstiods(Session& session, const std::string& revision) {
  const std::string& ns = session.globals.istio_ns;
  const std::string selector =
      revision.empty() ? "app=istiod" : "app=istiod,istio.io/rev=" + revision;
  ASSIGN_OR_RETURN(std::vector<Json> pods,
                   session.List(kPods, ns, selector, "status.phase=Running"), "finding istiod");
  std::erase_if(pods, [](const Json& pod) { return kubeapi::IsBeingDeleted(pod); });
  if (pods.empty())
    return Error(Code::kNotFound,
                 "no running Istio pods in namespace \"{}\" (unable to find any Istiod instances); "
                 "is the control plane installed here?",
                 ns);
  std::sort(pods.begin(), pods.end(),
            [](const Json& a, const Json& b) { return kubeapi::NameOf(a) < kubeapi::NameOf(b); });
  return pods;
}

Result<std::vector<IstiodAnswer>> AskIstiods(Session& session, const std::string& revision,
                                             const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Json> pods, FindIstiods(session, revision),
                   "asking the control plane");
  auto client = session.client();
  if (!client.ok()) return client.status();
  std::vector<IstiodAnswer> answers;
  std::vector<Status> failures;
  for (const Json& pod : pods) {
    auto body = ExecInPod(**client, session.loop(), kubeapi::NamespaceOf(pod), kubeapi::NameOf(pod),
                          "discovery", {"pilot-discovery", "request", "GET", path});
    if (!body.ok()) {
      failures.push_back(body.status());
      continue;
    }
    const std::string rev = kubeapi::LabelOf(pod, "istio.io/rev");
    answers.push_back({kubeapi::NameOf(pod), rev.empty() ? "default" : rev, std::move(*body)});
  }
  if (answers.empty()) return failures.front();
  for (const Status& failure : failures)
    session.Err(fmt::format("warning: {}\n", failure.message()));
  return answers;
}

}  // namespace isthmus::cli
