// The columns that kubectl users expect of each built-in kind.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "kubeapi/selector.h"
#include "lab/apiserver/json_path.h"
#include "lab/apiserver/kind.h"
#include "lab/apiserver/table.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::BoolAt;
using kubeapi::Find;
using kubeapi::IntAt;
using kubeapi::ItemsAt;
using kubeapi::StringAt;

std::string OrNone(std::string text) { return text.empty() ? "<none>" : text; }

std::string JoinTexts(const std::vector<std::string>& parts, const char* separator = ",") {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : separator) + part;
  return out;
}

size_t SizeAt(const Json& object, std::string_view key) {
  const Json* found = Find(object, {key});
  return found && found->is_object() ? found->size() : 0;
}

std::string DataCount(const Json& o, int64_t) {
  return std::to_string(SizeAt(o, "data") + SizeAt(o, "binaryData"));
}

// ---- pods

bool HasRestartableInit(const Json& container) {
  return StringAt(container, {"restartPolicy"}) == "Always";
}

struct PodSummary {
  std::string status;
  int64_t restarts = 0;
  int ready = 0, total = 0;
  int64_t last_restart = 0;  ///< Unix seconds.
};

void NoteRestart(const Json& status, PodSummary* out) {
  auto time = base::ParseTime(StringAt(status, {"lastState", "terminated", "finishedAt"}));
  if (time.ok())
    out->last_restart = std::max<int64_t>(
        out->last_restart,
        std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count());
}

/// What the STATUS of a terminated container reads.
std::string TerminatedWord(const Json& terminated, const char* prefix) {
  const std::string reason = StringAt(terminated, {"reason"});
  if (!reason.empty()) return prefix + reason;
  const int64_t signal = IntAt(terminated, {"signal"});
  return signal ? fmt::format("{}Signal:{}", prefix, signal)
                : fmt::format("{}ExitCode:{}", prefix, IntAt(terminated, {"exitCode"}));
}

/// Looks at the init containers; true while they still run.
bool Initializing(const Json& pod, PodSummary* out) {
  std::set<std::string> sidecars;
  const std::vector<Json>& specs = ItemsAt(pod, {"spec", "initContainers"});
  for (const Json& container : specs)
    if (HasRestartableInit(container)) sidecars.insert(StringAt(container, {"name"}));
  size_t index = 0;
  for (const Json& status : ItemsAt(pod, {"status", "initContainerStatuses"})) {
    const size_t at = index++;
    const bool sidecar = sidecars.count(StringAt(status, {"name"})) > 0;
    out->restarts += IntAt(status, {"restartCount"});
    NoteRestart(status, out);
    const Json* terminated = Find(status, {"state", "terminated"});
    if (terminated && IntAt(*terminated, {"exitCode"}) == 0) {
      if (sidecar && BoolAt(status, {"ready"})) ++out->ready;
      continue;
    }
    if (sidecar && BoolAt(status, {"started"})) {
      if (BoolAt(status, {"ready"})) ++out->ready;
      continue;
    }
    const std::string waiting = StringAt(status, {"state", "waiting", "reason"});
    if (terminated) {
      out->status = TerminatedWord(*terminated, "Init:");
    } else if (!waiting.empty() && waiting != "PodInitializing") {
      out->status = "Init:" + waiting;
    } else {
      out->status = fmt::format("Init:{}/{}", at, specs.size());
    }
    return true;
  }
  return false;
}

PodSummary Summarize(const Json& pod) {
  PodSummary out;
  out.total = static_cast<int>(ItemsAt(pod, {"spec", "containers"}).size());
  for (const Json& container : ItemsAt(pod, {"spec", "initContainers"}))
    out.total += HasRestartableInit(container);
  const std::string phase = StringAt(pod, {"status", "phase"});
  out.status = phase;
  if (const std::string reason = StringAt(pod, {"status", "reason"}); !reason.empty())
    out.status = reason;
  for (const Json& condition : ItemsAt(pod, {"status", "conditions"}))
    if (StringAt(condition, {"type"}) == "PodScheduled" &&
        StringAt(condition, {"reason"}) == "SchedulingGated")
      out.status = "SchedulingGated";
  bool initialized = false;
  for (const Json& condition : ItemsAt(pod, {"status", "conditions"}))
    initialized |=
        StringAt(condition, {"type"}) == "Initialized" && StringAt(condition, {"status"}) == "True";
  if (!Initializing(pod, &out) || initialized) {
    bool running = false;
    const std::vector<Json>& statuses = ItemsAt(pod, {"status", "containerStatuses"});
    for (auto it = statuses.rbegin(); it != statuses.rend(); ++it) {
      out.restarts += IntAt(*it, {"restartCount"});
      NoteRestart(*it, &out);
      const Json* terminated = Find(*it, {"state", "terminated"});
      const std::string waiting = StringAt(*it, {"state", "waiting", "reason"});
      if (!waiting.empty()) {
        out.status = waiting;
      } else if (terminated && terminated->is_object()) {
        out.status = TerminatedWord(*terminated, "");
      } else if (BoolAt(*it, {"ready"}) && Find(*it, {"state", "running"})) {
        running = true;
        ++out.ready;
      }
    }
    if (out.status == "Completed" && running) {
      bool ready = false;
      for (const Json& condition : ItemsAt(pod, {"status", "conditions"}))
        ready |=
            StringAt(condition, {"type"}) == "Ready" && StringAt(condition, {"status"}) == "True";
      out.status = ready ? "Running" : "NotReady";
    }
  }
  if (Find(pod, {"metadata", "deletionTimestamp"})) {
    if (StringAt(pod, {"status", "reason"}) == "NodeLost") {
      out.status = "Unknown";
    } else if (phase != "Succeeded" && phase != "Failed") {
      out.status = "Terminating";
    }
  }
  return out;
}

std::string PodReady(const Json& o, int64_t) {
  const PodSummary s = Summarize(o);
  return fmt::format("{}/{}", s.ready, s.total);
}
std::string PodStatus(const Json& o, int64_t) { return Summarize(o).status; }
std::string PodRestarts(const Json& o, int64_t now) {
  const PodSummary s = Summarize(o);
  if (s.restarts == 0 || s.last_restart == 0) return std::to_string(s.restarts);
  return fmt::format("{} ({} ago)", s.restarts, HumanDuration(now - s.last_restart));
}
std::string PodIp(const Json& o, int64_t) {
  const std::vector<Json>& ips = ItemsAt(o, {"status", "podIPs"});
  return OrNone(ips.empty() ? StringAt(o, {"status", "podIP"}) : StringAt(ips[0], {"ip"}));
}
std::string PodNode(const Json& o, int64_t) { return OrNone(StringAt(o, {"spec", "nodeName"})); }
std::string PodGates(const Json& o, int64_t) {
  const std::vector<Json>& gates = ItemsAt(o, {"spec", "readinessGates"});
  if (gates.empty()) return "<none>";
  int good = 0;
  for (const Json& gate : gates)
    for (const Json& condition : ItemsAt(o, {"status", "conditions"}))
      good += StringAt(condition, {"type"}) == StringAt(gate, {"conditionType"}) &&
              StringAt(condition, {"status"}) == "True";
  return fmt::format("{}/{}", good, gates.size());
}

// ---- workloads

std::string Names(const Json& o, std::initializer_list<std::string_view> path, const char* field) {
  std::vector<std::string> parts;
  for (const Json& container : ItemsAt(o, path)) parts.push_back(StringAt(container, {field}));
  return JoinTexts(parts);
}
std::string Containers(const Json& o, int64_t) {
  return Names(o, {"spec", "template", "spec", "containers"}, "name");
}
std::string Images(const Json& o, int64_t) {
  return Names(o, {"spec", "template", "spec", "containers"}, "image");
}
std::string CronContainers(const Json& o, int64_t) {
  return Names(o, {"spec", "jobTemplate", "spec", "template", "spec", "containers"}, "name");
}
std::string CronImages(const Json& o, int64_t) {
  return Names(o, {"spec", "jobTemplate", "spec", "template", "spec", "containers"}, "image");
}
std::string LabelMap(const Json* labels) {
  std::vector<std::string> parts;
  if (labels && labels->is_object())
    for (const auto& [key, value] : labels->items()) parts.push_back(key + "=" + PlainText(value));
  return OrNone(JoinTexts(parts));
}
std::string SelectorMap(const Json& o, int64_t) { return LabelMap(Find(o, {"spec", "selector"})); }
std::string SelectorText(const Json* selector) {
  if (!selector) return "<none>";
  auto parsed = kubeapi::LabelSelector::FromObject(*selector);
  return parsed.ok() ? OrNone(parsed->ToString()) : "<error>";
}
std::string Selector(const Json& o, int64_t) { return SelectorText(Find(o, {"spec", "selector"})); }
std::string PodSelector(const Json& o, int64_t) {
  return SelectorText(Find(o, {"spec", "podSelector"}));
}
std::string NodeSelector(const Json& o, int64_t) {
  return LabelMap(Find(o, {"spec", "template", "spec", "nodeSelector"}));
}
std::string DeploymentReady(const Json& o, int64_t) {
  return fmt::format("{}/{}", IntAt(o, {"status", "readyReplicas"}),
                     IntAt(o, {"spec", "replicas"}));
}
std::string UpToDate(const Json& o, int64_t) {
  return std::to_string(IntAt(o, {"status", "updatedReplicas"}));
}
std::string Available(const Json& o, int64_t) {
  return std::to_string(IntAt(o, {"status", "availableReplicas"}));
}

std::string JobState(const Json& o, int64_t) {
  auto is = [&](const char* type) {
    for (const Json& condition : ItemsAt(o, {"status", "conditions"}))
      if (StringAt(condition, {"type"}) == type && StringAt(condition, {"status"}) == "True")
        return true;
    return false;
  };
  if (is("Complete")) return "Complete";
  if (is("Failed")) return "Failed";
  if (Find(o, {"metadata", "deletionTimestamp"})) return "Terminating";
  if (is("Suspended")) return "Suspended";
  if (is("FailureTarget")) return "FailureTarget";
  if (is("SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}
std::string JobCompletions(const Json& o, int64_t) {
  const int64_t done = IntAt(o, {"status", "succeeded"});
  if (Find(o, {"spec", "completions"}))
    return fmt::format("{}/{}", done, IntAt(o, {"spec", "completions"}));
  const int64_t parallelism = IntAt(o, {"spec", "parallelism"}, 1);
  return parallelism > 1 ? fmt::format("{}/1 of {}", done, parallelism) : fmt::format("{}/1", done);
}
int64_t UnixAt(const Json& o, std::initializer_list<std::string_view> path) {
  auto time = base::ParseTime(StringAt(o, path));
  return time.ok()
             ? std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count()
             : 0;
}
std::string JobDuration(const Json& o, int64_t now) {
  const int64_t start = UnixAt(o, {"status", "startTime"});
  if (start == 0) return "";
  const int64_t end = UnixAt(o, {"status", "completionTime"});
  return HumanDuration((end ? end : now) - start);
}
std::string CronLast(const Json& o, int64_t now) {
  const std::string time = StringAt(o, {"status", "lastScheduleTime"});
  return time.empty() ? "<none>" : HumanAge(time, now);
}
std::string CronSuspend(const Json& o, int64_t) {
  return BoolAt(o, {"spec", "suspend"}) ? "True" : "False";
}
std::string CronActive(const Json& o, int64_t) {
  return std::to_string(ItemsAt(o, {"status", "active"}).size());
}
std::string ControllerOfRevision(const Json& o, int64_t) {
  for (const Json& owner : ItemsAt(o, {"metadata", "ownerReferences"}))
    if (BoolAt(owner, {"controller"}))
      return fmt::format(
          "{}.{}/{}",
          [&] {
            std::string kind = StringAt(owner, {"kind"});
            std::transform(kind.begin(), kind.end(), kind.begin(), ::tolower);
            return kind;
          }(),
          StringAt(owner, {"apiVersion"}).substr(0, StringAt(owner, {"apiVersion"}).find('/')),
          StringAt(owner, {"name"}));
  return "<none>";
}

// ---- services and endpoints

std::string ServiceExternal(const Json& o, int64_t) {
  const std::string type = StringAt(o, {"spec", "type"});
  if (type == "ExternalName") return StringAt(o, {"spec", "externalName"});
  std::vector<std::string> parts;
  if (type == "LoadBalancer") {
    for (const Json& ingress : ItemsAt(o, {"status", "loadBalancer", "ingress"})) {
      const std::string ip = StringAt(ingress, {"ip"});
      parts.push_back(ip.empty() ? StringAt(ingress, {"hostname"}) : ip);
    }
  }
  for (const Json& ip : ItemsAt(o, {"spec", "externalIPs"})) parts.push_back(PlainText(ip));
  if (parts.empty()) return type == "LoadBalancer" ? "<pending>" : "<none>";
  return JoinTexts(parts);
}
std::string ServiceCluster(const Json& o, int64_t) {
  const std::vector<Json>& ips = ItemsAt(o, {"spec", "clusterIPs"});
  return OrNone(ips.empty() ? StringAt(o, {"spec", "clusterIP"}) : PlainText(ips[0]));
}
std::string ServicePorts(const Json& o, int64_t) {
  std::vector<std::string> parts;
  for (const Json& port : ItemsAt(o, {"spec", "ports"})) {
    const int64_t node = IntAt(port, {"nodePort"});
    parts.push_back(
        node ? fmt::format("{}:{}/{}", IntAt(port, {"port"}), node, StringAt(port, {"protocol"}))
             : fmt::format("{}/{}", IntAt(port, {"port"}), StringAt(port, {"protocol"})));
  }
  return OrNone(JoinTexts(parts));
}
std::string More(std::vector<std::string> list, size_t shown) {
  if (list.empty()) return "<none>";
  const size_t all = list.size();
  if (all > shown) list.resize(shown);
  const std::string text = JoinTexts(list);
  return all > shown ? fmt::format("{} + {} more...", text, all - shown) : text;
}
std::string EndpointsList(const Json& o, int64_t) {
  if (ItemsAt(o, {"subsets"}).empty()) return "<none>";
  std::vector<std::string> parts;
  for (const Json& subset : ItemsAt(o, {"subsets"})) {
    if (ItemsAt(subset, {"ports"}).empty())
      for (const Json& address : ItemsAt(subset, {"addresses"}))
        parts.push_back(StringAt(address, {"ip"}));
    for (const Json& port : ItemsAt(subset, {"ports"}))
      for (const Json& address : ItemsAt(subset, {"addresses"}))
        parts.push_back(fmt::format("{}:{}", StringAt(address, {"ip"}), IntAt(port, {"port"})));
  }
  return More(std::move(parts), 3);
}
std::string SlicePorts(const Json& o, int64_t) {
  std::vector<std::string> parts;
  for (const Json& port : ItemsAt(o, {"ports"})) {
    const int64_t number = IntAt(port, {"port"});
    const std::string name = StringAt(port, {"name"});
    parts.push_back(number ? std::to_string(number) : name.empty() ? "*" : name);
  }
  return parts.empty() ? "<unset>" : More(std::move(parts), 3);
}
std::string SliceEndpoints(const Json& o, int64_t) {
  std::vector<std::string> parts;
  for (const Json& endpoint : ItemsAt(o, {"endpoints"}))
    for (const Json& address : ItemsAt(endpoint, {"addresses"}))
      parts.push_back(PlainText(address));
  return parts.empty() ? "<unset>" : More(std::move(parts), 3);
}
std::string IngressClass(const Json& o, int64_t) {
  return OrNone(StringAt(o, {"spec", "ingressClassName"}));
}
std::string IngressHosts(const Json& o, int64_t) {
  std::vector<std::string> hosts;
  for (const Json& rule : ItemsAt(o, {"spec", "rules"})) {
    const std::string host = StringAt(rule, {"host"});
    if (!host.empty()) hosts.push_back(host);
  }
  return hosts.empty() ? "*" : More(std::move(hosts), 3);
}
std::string IngressAddress(const Json& o, int64_t) {
  std::vector<std::string> parts;
  for (const Json& ingress : ItemsAt(o, {"status", "loadBalancer", "ingress"})) {
    const std::string ip = StringAt(ingress, {"ip"});
    parts.push_back(ip.empty() ? StringAt(ingress, {"hostname"}) : ip);
  }
  return JoinTexts(parts);
}
std::string IngressPorts(const Json& o, int64_t) {
  return ItemsAt(o, {"spec", "tls"}).empty() ? "80" : "80, 443";
}

// ---- cluster

std::string NamespaceStatus(const Json& o, int64_t) { return StringAt(o, {"status", "phase"}); }
std::string NodeStatus(const Json& o, int64_t) {
  std::string status = "Unknown";
  for (const Json& condition : ItemsAt(o, {"status", "conditions"}))
    if (StringAt(condition, {"type"}) == "Ready")
      status = StringAt(condition, {"status"}) == "True" ? "Ready" : "NotReady";
  return BoolAt(o, {"spec", "unschedulable"}) ? status + ",SchedulingDisabled" : status;
}
std::string NodeRoles(const Json& o, int64_t) {
  std::vector<std::string> roles;
  if (const Json* labels = Find(o, {"metadata", "labels"}); labels && labels->is_object())
    for (const auto& [key, value] : labels->items())
      if (key.starts_with("node-role.kubernetes.io/")) roles.push_back(key.substr(24));
  return OrNone(JoinTexts(roles));
}
std::string NodeAddress(const Json& o, const char* type) {
  for (const Json& address : ItemsAt(o, {"status", "addresses"}))
    if (StringAt(address, {"type"}) == type) return StringAt(address, {"address"});
  return "<none>";
}
std::string NodeInternal(const Json& o, int64_t) { return NodeAddress(o, "InternalIP"); }
std::string NodeExternal(const Json& o, int64_t) { return NodeAddress(o, "ExternalIP"); }
std::string OrUnknown(std::string text) { return text.empty() ? "<unknown>" : text; }
std::string NodeOs(const Json& o, int64_t) {
  return OrUnknown(StringAt(o, {"status", "nodeInfo", "osImage"}));
}
std::string NodeKernel(const Json& o, int64_t) {
  return OrUnknown(StringAt(o, {"status", "nodeInfo", "kernelVersion"}));
}
std::string NodeRuntime(const Json& o, int64_t) {
  return OrUnknown(StringAt(o, {"status", "nodeInfo", "containerRuntimeVersion"}));
}

// ---- events

std::string EventLastSeen(const Json& o, int64_t now) {
  for (const char* field : {"lastTimestamp", "deprecatedLastTimestamp"})
    if (const std::string time = StringAt(o, {field}); !time.empty()) return HumanAge(time, now);
  if (const std::string time = StringAt(o, {"series", "lastObservedTime"}); !time.empty())
    return HumanAge(time, now);
  return HumanAge(StringAt(o, {"eventTime"}), now);
}
std::string EventFirstSeen(const Json& o, int64_t now) {
  const std::string time = StringAt(o, {"firstTimestamp"});
  return HumanAge(time.empty() ? StringAt(o, {"eventTime"}) : time, now);
}
const Json& EventSubject(const Json& o) {
  static const Json kNone = Json::object();
  const Json* subject = Find(o, {"involvedObject"});
  if (!subject) subject = Find(o, {"regarding"});
  return subject ? *subject : kNone;
}
std::string EventObject(const Json& o, int64_t) {
  const Json& subject = EventSubject(o);
  std::string kind = StringAt(subject, {"kind"});
  std::transform(kind.begin(), kind.end(), kind.begin(), ::tolower);
  const std::string name = StringAt(subject, {"name"});
  return name.empty() ? kind : kind + "/" + name;
}
std::string EventSubobject(const Json& o, int64_t) {
  return StringAt(EventSubject(o), {"fieldPath"});
}
std::string EventSource(const Json& o, int64_t) {
  std::string source = StringAt(o, {"source", "component"}), host = StringAt(o, {"source", "host"});
  if (source.empty()) source = StringAt(o, {"reportingComponent"});
  if (source.empty()) source = StringAt(o, {"reportingController"});
  return host.empty() ? source : source + ", " + host;
}
std::string EventMessage(const Json& o, int64_t) {
  std::string text = StringAt(o, {"message"});
  if (text.empty()) text = StringAt(o, {"note"});
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}
std::string EventCount(const Json& o, int64_t) {
  const int64_t series = IntAt(o, {"series", "count"});
  return std::to_string(series ? series : IntAt(o, {"count"}, 1));
}

// ---- the rest

std::string Subjects(const Json& o, const char* kind) {
  std::vector<std::string> parts;
  for (const Json& subject : ItemsAt(o, {"subjects"})) {
    if (StringAt(subject, {"kind"}) != kind) continue;
    const std::string name = StringAt(subject, {"name"});
    parts.push_back(kind == std::string_view("ServiceAccount")
                        ? StringAt(subject, {"namespace"}) + "/" + name
                        : name);
  }
  return JoinTexts(parts, ", ");
}
std::string BindingRole(const Json& o, int64_t) {
  return StringAt(o, {"roleRef", "kind"}) + "/" + StringAt(o, {"roleRef", "name"});
}
std::string BindingUsers(const Json& o, int64_t) { return Subjects(o, "User"); }
std::string BindingGroups(const Json& o, int64_t) { return Subjects(o, "Group"); }
std::string BindingAccounts(const Json& o, int64_t) { return Subjects(o, "ServiceAccount"); }
std::string Webhooks(const Json& o, int64_t) {
  return std::to_string(ItemsAt(o, {"webhooks"}).size());
}
std::string Validations(const Json& o, int64_t) {
  return std::to_string(ItemsAt(o, {"spec", "validations"}).size());
}
std::string CsrCondition(const Json& o, int64_t) {
  std::vector<std::string> words;
  bool approved = false, denied = false, failed = false;
  for (const Json& condition : ItemsAt(o, {"status", "conditions"})) {
    const std::string type = StringAt(condition, {"type"});
    approved |= type == "Approved";
    denied |= type == "Denied";
    failed |= type == "Failed";
  }
  if (denied)
    words.push_back("Denied");
  else if (approved)
    words.push_back("Approved");
  else
    words.push_back("Pending");
  if (failed) words.push_back("Failed");
  if (!StringAt(o, {"status", "certificate"}).empty()) words.push_back("Issued");
  return JoinTexts(words);
}
std::string CsrDuration(const Json& o, int64_t) {
  const Json* seconds = Find(o, {"spec", "expirationSeconds"});
  return seconds && seconds->is_number() ? HumanDuration(seconds->get<int64_t>()) : "<none>";
}
std::string HpaReference(const Json& o, int64_t) {
  return StringAt(o, {"spec", "scaleTargetRef", "kind"}) + "/" +
         StringAt(o, {"spec", "scaleTargetRef", "name"});
}
std::string HpaTargets(const Json& o, int64_t) {
  std::vector<std::string> parts;
  for (const Json& metric : ItemsAt(o, {"spec", "metrics"})) {
    const int64_t percent = IntAt(metric, {"resource", "target", "averageUtilization"}, -1);
    if (percent >= 0) {
      parts.push_back(
          fmt::format("{}: <unknown>/{}%", StringAt(metric, {"resource", "name"}), percent));
    } else {
      const std::string value = StringAt(metric, {"resource", "target", "averageValue"});
      parts.push_back(fmt::format("{}: <unknown>/{}", StringAt(metric, {"resource", "name"}),
                                  value.empty() ? "<auto>" : value));
    }
  }
  if (Find(o, {"spec", "targetCPUUtilizationPercentage"}))
    parts.push_back(
        fmt::format("cpu: <unknown>/{}%", IntAt(o, {"spec", "targetCPUUtilizationPercentage"})));
  return More(std::move(parts), 2);
}
std::string HpaMin(const Json& o, int64_t) {
  return Find(o, {"spec", "minReplicas"}) ? std::to_string(IntAt(o, {"spec", "minReplicas"}))
                                          : "<unset>";
}
std::string HpaMax(const Json& o, int64_t) {
  return std::to_string(IntAt(o, {"spec", "maxReplicas"}));
}
std::string HpaReplicas(const Json& o, int64_t) {
  return std::to_string(IntAt(o, {"status", "currentReplicas"}));
}
std::string PdbBound(const Json& o, const char* field) {
  const Json* value = Find(o, {"spec", field});
  return value ? PlainText(*value) : "N/A";
}
std::string PdbMin(const Json& o, int64_t) { return PdbBound(o, "minAvailable"); }
std::string PdbMax(const Json& o, int64_t) { return PdbBound(o, "maxUnavailable"); }
std::string ApiServiceTarget(const Json& o, int64_t) {
  const Json* service = Find(o, {"spec", "service"});
  return service && service->is_object()
             ? StringAt(*service, {"namespace"}) + "/" + StringAt(*service, {"name"})
             : "Local";
}
std::string ApiServiceAvailable(const Json& o, int64_t) {
  for (const Json& condition : ItemsAt(o, {"status", "conditions"}))
    if (StringAt(condition, {"type"}) == "Available") return StringAt(condition, {"status"});
  return "Unknown";
}
std::string AccessModes(const Json& o, int64_t) {
  std::vector<std::string> parts;
  const std::vector<Json>& modes = ItemsAt(o, {"status", "accessModes"});
  const bool volume = StringAt(o, {"kind"}) == "PersistentVolume";
  for (const Json& mode : volume ? ItemsAt(o, {"spec", "accessModes"}) : modes) {
    const std::string text = PlainText(mode);
    parts.push_back(text == "ReadWriteOnce"   ? "RWO"
                    : text == "ReadOnlyMany"  ? "ROX"
                    : text == "ReadWriteMany" ? "RWX"
                                              : "RWOP");
  }
  return JoinTexts(parts);
}
std::string AttributesClass(const Json& o, int64_t) {
  const std::string name = StringAt(o, {"spec", "volumeAttributesClassName"});
  return name.empty() ? "<unset>" : name;
}
std::string VolumeClaim(const Json& o, int64_t) {
  const std::string name = StringAt(o, {"spec", "claimRef", "name"});
  return name.empty() ? "" : StringAt(o, {"spec", "claimRef", "namespace"}) + "/" + name;
}
std::string QuotaText(const Json& o, bool limits) {
  std::vector<std::string> parts;
  if (const Json* hard = Find(o, {"status", "hard"}); hard && hard->is_object())
    for (const auto& [key, value] : hard->items())
      if (key.starts_with("limits.") == limits) {
        const std::string used = StringAt(o, {"status", "used", key});
        parts.push_back(fmt::format("{}: {}/{}", key, used.empty() ? "0" : used, PlainText(value)));
      }
  return JoinTexts(parts, ", ");
}
std::string QuotaRequest(const Json& o, int64_t) { return QuotaText(o, false); }
std::string QuotaLimit(const Json& o, int64_t) { return QuotaText(o, true); }
std::string TemplateContainers(const Json& o, int64_t) {
  return Names(o, {"template", "spec", "containers"}, "name");
}
std::string TemplateImages(const Json& o, int64_t) {
  return Names(o, {"template", "spec", "containers"}, "image");
}
std::string TemplateLabels(const Json& o, int64_t) {
  return LabelMap(Find(o, {"template", "metadata", "labels"}));
}
std::string ParamKind(const Json& o, int64_t) {
  const std::string kind = StringAt(o, {"spec", "paramKind", "kind"});
  return kind.empty() ? "<unset>" : StringAt(o, {"spec", "paramKind", "apiVersion"}) + "/" + kind;
}
std::string ParamRef(const Json& o, int64_t) {
  const std::string name = StringAt(o, {"spec", "paramRef", "name"});
  return name.empty() ? "<unset>" : name;
}

const Column kAge{"Age", ".metadata.creationTimestamp", nullptr, 0, "date"};
const Column kCreated{"Created At", ".metadata.creationTimestamp", nullptr, 0, "date"};

Column Fn(const char* name, std::string (*cell)(const Json&, int64_t), int priority = 0,
          const char* type = "string") {
  return {name, "", cell, priority, type};
}
Column At(const char* name, const char* path, const char* type = "string", int priority = 0) {
  return {name, path, nullptr, priority, type};
}

std::vector<Column> WorkloadTail(std::vector<Column> head,
                                 std::string (*selector)(const Json&, int64_t)) {
  head.push_back(kAge);
  head.push_back(Fn("Containers", Containers, 1));
  head.push_back(Fn("Images", Images, 1));
  if (selector) head.push_back(Fn("Selector", selector, 1));
  return head;
}

std::map<std::string, std::vector<Column>, std::less<>> MakeColumns() {
  const std::vector<Column> events = {Fn("Last Seen", EventLastSeen),
                                      At("Type", ".type"),
                                      At("Reason", ".reason"),
                                      Fn("Object", EventObject),
                                      Fn("Subobject", EventSubobject, 1),
                                      Fn("Source", EventSource, 1),
                                      Fn("Message", EventMessage),
                                      Fn("First Seen", EventFirstSeen, 1),
                                      Fn("Count", EventCount, 1),
                                      {"Name", ".metadata.name", nullptr, 1, "string", "name"}};
  const std::vector<Column> bindings = {Fn("Role", BindingRole), kAge, Fn("Users", BindingUsers, 1),
                                        Fn("Groups", BindingGroups, 1),
                                        Fn("ServiceAccounts", BindingAccounts, 1)};
  const std::vector<Column> replicas = WorkloadTail(
      {At("Desired", ".spec.replicas", "integer"), At("Current", ".status.replicas", "integer"),
       At("Ready", ".status.readyReplicas", "integer")},
      Selector);
  return {
      {"configmaps", {Fn("Data", DataCount, 0, "count"), kAge}},
      {"endpoints", {Fn("Endpoints", EndpointsList), kAge}},
      {"events", events},
      {"events.events.k8s.io", events},
      {"limitranges", {kCreated}},
      {"namespaces", {Fn("Status", NamespaceStatus), kAge}},
      {"nodes",
       {Fn("Status", NodeStatus), Fn("Roles", NodeRoles), kAge,
        At("Version", ".status.nodeInfo.kubeletVersion"), Fn("Internal-IP", NodeInternal, 1),
        Fn("External-IP", NodeExternal, 1), Fn("OS-Image", NodeOs, 1),
        Fn("Kernel-Version", NodeKernel, 1), Fn("Container-Runtime", NodeRuntime, 1)}},
      {"persistentvolumeclaims",
       {At("Status", ".status.phase"), At("Volume", ".spec.volumeName"),
        At("Capacity", ".status.capacity.storage"), Fn("Access Modes", AccessModes),
        At("StorageClass", ".spec.storageClassName"), Fn("VolumeAttributesClass", AttributesClass),
        kAge, At("VolumeMode", ".spec.volumeMode", "string", 1)}},
      {"persistentvolumes",
       {At("Capacity", ".spec.capacity.storage"), Fn("Access Modes", AccessModes),
        At("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"), At("Status", ".status.phase"),
        Fn("Claim", VolumeClaim), At("StorageClass", ".spec.storageClassName"),
        Fn("VolumeAttributesClass", AttributesClass), At("Reason", ".status.reason"), kAge,
        At("VolumeMode", ".spec.volumeMode", "string", 1)}},
      {"pods",
       {Fn("Ready", PodReady), Fn("Status", PodStatus), Fn("Restarts", PodRestarts), kAge,
        Fn("IP", PodIp, 1), Fn("Node", PodNode, 1),
        At("Nominated Node", "?.status.nominatedNodeName", "string", 1),
        Fn("Readiness Gates", PodGates, 1)}},
      {"podtemplates",
       {Fn("Containers", TemplateContainers), Fn("Images", TemplateImages),
        Fn("Pod Labels", TemplateLabels)}},
      {"replicationcontrollers", WorkloadTail({At("Desired", ".spec.replicas", "integer"),
                                               At("Current", ".status.replicas", "integer"),
                                               At("Ready", ".status.readyReplicas", "integer")},
                                              SelectorMap)},
      {"resourcequotas", {Fn("Request", QuotaRequest), Fn("Limit", QuotaLimit), kAge}},
      {"secrets", {At("Type", ".type"), Fn("Data", DataCount, 0, "count"), kAge}},
      {"serviceaccounts", {kAge}},
      {"services",
       {At("Type", ".spec.type"), Fn("Cluster-IP", ServiceCluster),
        Fn("External-IP", ServiceExternal), Fn("Port(s)", ServicePorts), kAge,
        Fn("Selector", SelectorMap, 1)}},
      {"apiservices.apiregistration.k8s.io",
       {Fn("Service", ApiServiceTarget), Fn("Available", ApiServiceAvailable), kAge}},
      {"controllerrevisions.apps",
       {Fn("Controller", ControllerOfRevision), At("Revision", ".revision"), kAge}},
      {"daemonsets.apps",
       WorkloadTail({At("Desired", ".status.desiredNumberScheduled", "integer"),
                     At("Current", ".status.currentNumberScheduled", "integer"),
                     At("Ready", ".status.numberReady", "integer"),
                     At("Up-to-date", ".status.updatedNumberScheduled", "integer"),
                     At("Available", ".status.numberAvailable", "integer"),
                     Fn("Node Selector", NodeSelector)},
                    Selector)},
      {"deployments.apps",
       WorkloadTail({Fn("Ready", DeploymentReady), Fn("Up-to-date", UpToDate, 0, "count"),
                     Fn("Available", Available, 0, "count")},
                    Selector)},
      {"replicasets.apps", replicas},
      {"statefulsets.apps", WorkloadTail({Fn("Ready", DeploymentReady)}, nullptr)},
      {"horizontalpodautoscalers.autoscaling",
       {Fn("Reference", HpaReference), Fn("Targets", HpaTargets), Fn("MinPods", HpaMin),
        Fn("MaxPods", HpaMax, 0, "count"), Fn("Replicas", HpaReplicas, 0, "count"), kAge}},
      {"cronjobs.batch",
       {At("Schedule", ".spec.schedule"), At("Timezone", "?.spec.timeZone"),
        Fn("Suspend", CronSuspend, 0, "boolean"), Fn("Active", CronActive, 0, "integer"),
        Fn("Last Schedule", CronLast), kAge, Fn("Containers", CronContainers, 1),
        Fn("Images", CronImages, 1),
        At("Selector", "?.spec.jobTemplate.spec.selector", "string", 1)}},
      {"jobs.batch", WorkloadTail({Fn("Status", JobState), Fn("Completions", JobCompletions),
                                   Fn("Duration", JobDuration)},
                                  Selector)},
      {"certificatesigningrequests.certificates.k8s.io",
       {kAge, At("SignerName", "?.spec.signerName"), At("Requestor", ".spec.username"),
        Fn("RequestedDuration", CsrDuration), Fn("Condition", CsrCondition)}},
      {"ingressclasses.networking.k8s.io",
       {At("Controller", ".spec.controller"), At("Parameters", "?.spec.parameters.name"), kAge}},
      {"ingresses.networking.k8s.io",
       {Fn("Class", IngressClass), Fn("Hosts", IngressHosts), Fn("Address", IngressAddress),
        Fn("Ports", IngressPorts), kAge}},
      {"networkpolicies.networking.k8s.io", {Fn("Pod-Selector", PodSelector), kAge}},
      {"poddisruptionbudgets.policy",
       {Fn("Min Available", PdbMin), Fn("Max Unavailable", PdbMax),
        At("Allowed Disruptions", ".status.disruptionsAllowed", "integer"), kAge}},
      {"clusterrolebindings.rbac.authorization.k8s.io", bindings},
      {"rolebindings.rbac.authorization.k8s.io", bindings},
      {"clusterroles.rbac.authorization.k8s.io", {kCreated}},
      {"roles.rbac.authorization.k8s.io", {kCreated}},
      {"csinodes.storage.k8s.io", {kAge}},
      {"csidrivers.storage.k8s.io", {kAge}},
      {"csistoragecapacities.storage.k8s.io", {kCreated}},
      {"storageclasses.storage.k8s.io",
       {At("Provisioner", ".provisioner"), At("ReclaimPolicy", ".reclaimPolicy"),
        At("VolumeBindingMode", ".volumeBindingMode"),
        At("AllowVolumeExpansion", ".allowVolumeExpansion", "boolean"), kAge}},
      {"volumeattachments.storage.k8s.io",
       {At("Attacher", ".spec.attacher"), At("PV", ".spec.source.persistentVolumeName"),
        At("Node", ".spec.nodeName"), At("Attached", ".status.attached", "boolean"), kAge}},
      {"mutatingwebhookconfigurations.admissionregistration.k8s.io",
       {Fn("Webhooks", Webhooks, 0, "integer"), kAge}},
      {"validatingwebhookconfigurations.admissionregistration.k8s.io",
       {Fn("Webhooks", Webhooks, 0, "integer"), kAge}},
      {"validatingadmissionpolicies.admissionregistration.k8s.io",
       {Fn("Validations", Validations, 0, "integer"), Fn("ParamKind", ParamKind), kAge}},
      {"validatingadmissionpolicybindings.admissionregistration.k8s.io",
       {At("PolicyName", ".spec.policyName"), Fn("ParamRef", ParamRef), kAge}},
      {"customresourcedefinitions.apiextensions.k8s.io", {kCreated}},
      {"priorityclasses.scheduling.k8s.io",
       {At("Value", ".value", "integer"), At("Global-Default", ".globalDefault", "boolean"), kAge,
        At("PreemptionPolicy", ".preemptionPolicy")}},
      {"leases.coordination.k8s.io", {At("Holder", ".spec.holderIdentity"), kAge}},
      {"runtimeclasses.node.k8s.io", {At("Handler", ".handler"), kAge}},
      {"endpointslices.discovery.k8s.io",
       {At("AddressType", ".addressType"), Fn("Ports", SlicePorts), Fn("Endpoints", SliceEndpoints),
        kAge}},
  };
}

}  // namespace

std::vector<Column> BuiltinColumns(std::string_view resource_key) {
  static const auto columns = MakeColumns();
  auto it = columns.find(resource_key);
  return it == columns.end() ? std::vector<Column>{kAge} : it->second;
}

}  // namespace isthmus::lab::apiserver
